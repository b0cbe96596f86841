"""What a study prints before and after: the plan, and how its runs ended."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpo_bench.errors import one_line
from hpo_bench.study.execute import Outcome
from hpo_bench.study.plan import PlannedRun, State
from hpo_bench.study.spec import Study


def crossed(title: str, cells: Iterable[tuple[str, str]], show: Callable[[tuple[str, str]], str | Text]) -> Table:
    """A table of (task, method) cells; whichever are more go down the page, where there is room for them."""
    tasks, methods = ([*dict.fromkeys(names)] for names in zip(*cells, strict=True))
    if len(methods) > len(tasks):
        table = Table("method", *tasks, title=title, title_justify="left")
        for method in methods:
            table.add_row(method, *(show((task, method)) for task in tasks))
    else:
        table = Table("task", *methods, title=title, title_justify="left")
        for task in tasks:
            table.add_row(task, *(show((task, method)) for method in methods))
    return table


def show_plan(study: Study, runs: list[PlannedRun], states: list[State]) -> None:
    """Task × method, how many of the runs are done."""
    console = Console(markup=False)
    done = Counter((run.task, run.method) for run, state in zip(runs, states, strict=True) if state == "done")
    total = Counter((run.task, run.method) for run in runs)
    table = crossed(f"{study.name}: done of planned", total, lambda cell: f"{done[cell]}/{total[cell]}")
    console.print(table)
    counts = Counter(states)
    told = f"{len(runs)} runs: {counts['done']} done, {counts['begun']} to go on with, {counts['new']} new"
    console.print(told, highlight=False, soft_wrap=True)


def show_summary(study: Study, runs: list[PlannedRun], states: list[State], outcomes: list[Outcome], out: Path) -> None:
    """Counts, failures with their reasons, and what to do next."""
    console = Console(markup=False)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    finished, skipped = len(outcomes) - len(failed), states.count("done")
    counts = f"{finished} finished now, {skipped} were done before, {len(failed)} failed"
    console.print(f"{study.name}: {len(runs)} runs, {counts}", highlight=False, markup=False, soft_wrap=True)
    for outcome in failed:
        reason = one_line(outcome.error or "no reason given")
        console.print(
            f"  {outcome.run.title}: {outcome.status}: {reason}", highlight=False, markup=False, soft_wrap=True
        )
    if failed:
        console.print("the same command tries the failed runs again", highlight=False)
    console.print(
        f"next: python -m hpo_bench compare {shlex.quote(str(out))}", highlight=False, markup=False, soft_wrap=True
    )


def as_data(study: Study, runs: list[PlannedRun], states: list[State], outcomes: list[Outcome]) -> dict[str, Any]:
    """The same for machines: every run with its status and reason."""
    ended = {outcome.run.title: outcome for outcome in outcomes}
    rows = []
    for run, state in zip(runs, states, strict=True):
        outcome = ended.get(run.title)
        rows.append(
            {
                "task": run.task,
                "method": run.method,
                "seed": run.config.seed,
                "folder": str(run.config.folder),
                "before": state,
                "status": outcome.status if outcome else state,
                "error": outcome.error if outcome else None,
            }
        )
    return {"study": study.name, "runs": rows}
