"""From run folders to tables, figures and a verdict: the one entry point behind `hpo-bench compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hpo_bench.compare.cohort import TaskRuns, cohorts, left_out
from hpo_bench.compare.export.latex import to_latex
from hpo_bench.compare.side_by_side import Job, side_by_side
from hpo_bench.compare.stats.aggregate import Overall, overall
from hpo_bench.compare.stats.equivalence import Equivalence, Region, equivalences
from hpo_bench.compare.stats.profiles import Profile, task_profile
from hpo_bench.compare.stats.ranks import Ranking
from hpo_bench.compare.stats.summary import Row, summarise
from hpo_bench.compare.tables.brief import brief_markdown
from hpo_bench.compare.tables.matrix import Matrix
from hpo_bench.compare.tables.over_tasks import equivalence_table, overall_table, profile_table
from hpo_bench.compare.tables.table import TerminalTable, by_task, table_frame, to_csv, to_json, to_markdown
from hpo_bench.compare.tables.verdict import power_of, pretraining_pays, verdict, weights_matter
from hpo_bench.errors import unknown_name
from hpo_bench.records.files import without_nan, write_changed
from hpo_bench.records.load import finished, load_runs
from hpo_bench.records.run_folder import writing
from hpo_bench.records.sessions import environment_changes, machine_kinds

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

REFERENCE = "equal"


@dataclass(frozen=True)
class TaskVerdict:
    """What is said of one task.

    Does pretraining pay, does weighting matter, which method is worth its cost, and how small a difference can the
    seeds see?
    """

    task: str
    pretraining_pays: str
    weights_matter: str
    verdict: str
    power: str
    variance: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Everything that `compare` found; rich prints tables, verdicts and notes, `str` does so without colours."""

    rows: list[Row]
    verdicts: list[TaskVerdict]
    overall: list[Overall]
    ranking: Ranking | None
    profile: Profile | None
    region: Region | None
    equivalence: list[Equivalence]
    notes: list[str]
    reference: str
    runs: pd.DataFrame = field(repr=False)
    tasks: list[TaskRuns] = field(repr=False)
    files: list[Path] = field(default_factory=list, repr=False)

    def frame(self) -> pd.DataFrame:
        """The table as a frame, one line per task and method."""
        return table_frame(self.rows, self.reference)

    def to_json(self) -> str:
        """Rows, verdicts and notes as JSON; NaN becomes null."""
        verdicts = [without_nan(asdict(entry)) for entry in self.verdicts]
        over_tasks = [without_nan(asdict(entry)) for entry in self.overall]
        ranking = self.ranking.sentence if self.ranking else None
        more = {"verdicts": verdicts, "overall": over_tasks, "ranking": ranking, "notes": self.notes}
        if self.region is not None:
            more["equivalence"] = [without_nan(asdict(entry)) for entry in self.equivalence]
        return to_json(self.rows, self.reference, **more)

    def to_markdown(self) -> str:
        """Verdicts, tables and notes as Markdown."""
        said = [
            " ".join(filter(None, [entry.pretraining_pays, entry.weights_matter, entry.verdict, entry.power])) + "\n"
            for entry in self.verdicts
        ]
        said += [matrix.markdown() for matrix in self.matrices()]
        return "\n".join([*said, to_markdown(self.rows, self.reference, self.notes)])

    def matrices(self) -> list[Matrix]:
        """Tables of methods over tasks: gains, performance profile, and probabilities of equivalence if asked for."""
        found = []
        if self.ranking is not None:
            found.append(overall_table(self.overall, self.reference, self.ranking.sentence))
        if self.profile is not None:
            found.append(profile_table(self.profile))
        if self.region is not None:
            found.append(equivalence_table(self.equivalence, self.region, self.reference))
        return found

    def to_brief_markdown(self) -> str:
        """Methods × tasks and the sentences, for a README or a paper's appendix."""
        said = [
            sentence
            for entry in self.verdicts
            for sentence in (entry.pretraining_pays, entry.weights_matter, entry.verdict)
        ]
        said += [self.ranking.sentence] if self.ranking is not None else []
        return brief_markdown(self.rows, self.overall, self.reference, [*said, *self.notes])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        groups = by_task(self.rows)
        for entry in self.verdicts:
            yield Text(entry.pretraining_pays)
            yield Text(entry.weights_matter)  # first: if weights do nothing, no ranking matters
            yield TerminalTable(groups[entry.task], self.reference)
            yield Text(entry.verdict, style="bold")
            if entry.power:
                yield Text(entry.power)
            yield Text("")
        yield from self.matrices()
        for note in self.notes:
            yield Text(f"note: {note}", style="dim")

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=200, no_color=True, markup=False)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def compare(
    path: str | Path,
    out: str | Path,
    reference: str | None = None,
    seed: int = 0,
    figures: bool = True,
    equivalent: Region | None = None,
) -> Comparison:
    """`compared`, and what is found `written` to `out`; nothing is printed."""
    comparison = compared(path, reference, seed, equivalent)
    written(comparison, out, figures)
    return comparison


def compared(
    path: str | Path, reference: str | None = None, seed: int = 0, equivalent: Region | None = None
) -> Comparison:
    """Compare all finished runs below `path`; nothing is written.

    Args:
        reference: the method that differences are taken to; by default `equal`, and where that was not run the table
            has no difference.
        seed: of the resampling.
        equivalent: differences to the reference that are none for the user's purposes; adds their probabilities.

    Raises:
        UserError: nothing to compare in `path`, or a record that cannot be read.
    """
    runs = load_runs(path)
    done = finished(runs, path)
    tasks, notes = cohorts(done)
    reference = _reference(reference, tasks)
    rng = np.random.default_rng(seed)
    rows, verdicts = [], []
    for task in tasks:
        own = summarise(task, reference, rng)
        matter, variance = weights_matter(task, rng)
        rows += own
        said = verdict(task, own, reference, rng)
        # Its own generator: the other numbers stay what they are whether or not the base alone was run.
        pays = pretraining_pays(task, reference, np.random.default_rng(seed))
        verdicts.append(TaskVerdict(task.label, pays, matter, said, power_of(task, reference), variance))
    over_tasks, ranking = overall(tasks, reference, rng)
    notes = [*left_out(runs), *notes, *_cautions(done, tasks, rows, reference)]
    same = [entry for task in tasks for entry in equivalences(task, reference, equivalent)] if equivalent else []
    profile = task_profile(tasks) if ranking is not None else None
    return Comparison(rows, verdicts, over_tasks, ranking, profile, equivalent, same, notes, reference, runs, tasks)


def written(comparison: Comparison, out: str | Path, figures: bool = True) -> None:
    """Tables and figures in `out`, and their names in `comparison.files`.

    `out` gets the table as .csv, .parquet, .md, .tex and .json, report.html, one folder of figures (PNG and SVG) per
    task, and figures over all tasks. The same records and seed give the same bytes; a file that holds them is left.

    Args:
        figures: draw them; they take most of the time.

    Raises:
        UserError: a file cannot be written.
    """
    with writing(Path(out)):
        comparison.files.extend(_write(comparison, Path(out), figures))


def _reference(asked: str | None, tasks: list[TaskRuns]) -> str:
    """The method that others are compared with.

    Raises:
        UserError: it is none of those that were run.
    """
    known = {name for task in tasks for name in task.methods}
    if asked is not None and asked not in known:
        raise unknown_name("finished run of a method", asked, known)
    return asked or REFERENCE


def _write(comparison: Comparison, folder: Path, figures: bool) -> list[Path]:
    from hpo_bench.compare.report.page import write_report

    rows, reference = comparison.rows, comparison.reference
    texts = {
        "table.csv": to_csv(rows, reference),
        "table.md": comparison.to_markdown(),
        "table.tex": to_latex(rows, reference),
        "table.json": comparison.to_json(),
    }
    files = [write_changed(folder / name, text.encode()) for name, text in texts.items()]
    files.append(write_changed(folder / "table.parquet", comparison.frame().to_parquet(index=False)))
    jobs: list[Job] = [partial(write_report, comparison, folder / "report.html")]
    if figures:
        from hpo_bench.compare.charts import draw

        jobs += draw.jobs(comparison, folder)
    return files + side_by_side(jobs)


def _cautions(done: pd.DataFrame, tasks: list[TaskRuns], rows: list[Row], reference: str) -> list[str]:
    cautions = []
    for task in tasks:
        if reference not in task.methods:
            cautions.append(f"{task.label}: no finished run of {reference}, so no paired difference to it")
    single = sorted({f"{row.method} on {row.task}" for row in rows if row.n == 1})
    if single:
        cautions.append(f"one repetition gives no interval: {', '.join(single)}")
    paired = [(row, row.versus.difference.n) for row in rows if row.versus is not None and row.retrainings]
    alone: dict[tuple[str, int, int], list[str]] = {}
    for row, shared in paired:
        if shared < row.n:
            alone.setdefault((row.task, shared, row.n), []).append(row.method)
    for (task_name, shared, n), methods in alone.items():
        told = (
            f"{shared} of {n} seeds with {reference}; the differences are of these"
            if shared
            else f"no seed with {reference}"
        )
        cautions.append(f"{task_name}: {', '.join(methods)} share{'s' if len(methods) == 1 else ''} {told}")
    fewest = min((shared for _, shared in paired if shared > 1), default=0)
    if 0 < fewest < 6:
        smallest = 2 / 2**fewest
        cautions.append(
            f"with {fewest} repetitions the permutation test cannot give p below {smallest:.2g}, "
            "before correction for several comparisons; intervals assume roughly normal repetitions"
        )
    commits = sorted(
        {str(one["git_commit"])[:10] for run in done["environments"] for one in run if one.get("git_commit")}
    )
    if len(commits) > 1:
        cautions.append(f"runs come from several commits: {', '.join(commits)}")
    changed = [run for run in done["environments"] if environment_changes(run)]
    if changed:
        cautions.append(f"{len(changed)} runs were resumed in another environment; `show` says what differs")
    kinds = sorted({kind for run in done["environments"] for kind in machine_kinds(run)})
    if len(kinds) > 1:
        cautions.append(
            f"runs were done on {len(kinds)} kinds of machines ({'; '.join(kinds)}): their seconds are not to be "
            "compared, and scores agree only as far as these round alike"
        )
    count = sum(any(one.get("git_dirty") for one in run) for run in done["environments"])
    if count:
        cautions.append(f"{count} runs come from a working tree with uncommitted changes")
    return cautions
