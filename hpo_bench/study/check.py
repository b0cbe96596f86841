"""What can be found out before anything is trained: missing data, budgets that are too small, folders in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

from hpo_bench.errors import UserError, one_line
from hpo_bench.records.files import check_own
from hpo_bench.records.run_folder import check_content, check_writable
from hpo_bench.run.runner import load_task, make_problem, vouched
from hpo_bench.study.places import folders_of
from hpo_bench.study.plan import PlannedRun, State
from hpo_bench.tasks.base import LoadedTask, planning


def states(runs: list[PlannedRun]) -> list[State]:
    """How far every run is.

    Raises:
        UserError: folders hold something else; all are named.
    """
    found: list[State] = []
    problems = []
    for run in runs:
        try:
            found.append(run.state())
        except UserError as error:
            problems.append(error.message)
    if problems:
        raise _all(problems, "give another --out, or the variant a label")
    return found


def check_places(runs: list[PlannedRun], workspace: Path) -> None:
    """Can the study and these runs be recorded where they are to be? Nothing is left there.

    Raises:
        UserError: they cannot; all places are named.
    """
    for folder in folders_of(workspace):
        check_own(folder)
    check_writable(workspace / "logs")
    problems = {}
    for run in runs:
        try:
            check_writable(run.config.folder)
        except UserError as error:
            problems[error.message] = error.remedy
    if problems:
        raise _all([*problems], next(iter(problems.values())))


def check(runs: list[PlannedRun], only: bool = False, tell: Callable[[str], None] = lambda line: None) -> None:
    """Load the task of every run, ask every method whether it can solve it; recorded runs must have seen the same data.

    The task of runs that are all done is not loaded where the files that they were made from are the same by each byte.
    `only`: nothing is trained afterwards, and what training alone looks at (molecules' features) need not be made, as
    for a task whose runs are all done. Otherwise it is made here: the runs' processes find it in the cache, and do not
    all make it at once. `tell` is called before each task that is loaded: a large one takes minutes.

    Raises:
        UserError: all reasons, each once.
    """
    problems: list[str] = []
    ordered = sorted(runs, key=lambda run: run.task)
    for name, group in groupby(ordered, key=lambda run: run.task):
        try:
            if unsure := [run for run in group if not vouched(run.config)]:
                tell(f"looking at {name}'s data")
                with planning() if only or all(run.state() == "done" for run in unsure) else nullcontext():
                    problems += _of_task(unsure)
        except UserError as error:
            problems.append(f"{name}: {one_line(error)}")
    if problems:
        raise _all(list(dict.fromkeys(problems)), "nothing was trained")


def _of_task(runs: list[PlannedRun]) -> list[str]:
    """What keeps runs of one task from being done, or from being taken as they are."""
    first = runs[0].config
    loaded = load_task(first.task, first.task_options, first.device)
    problems = []
    for run in runs:
        record = run.record()
        try:
            if record is not None:
                check_content(run.config.folder, record, loaded.content)
        except UserError as error:
            problems.append(f"{error.message}; {error.remedy}")
    todo = [run for run in runs if run.state() != "done"]
    return [*problems, *_unsupported(todo, loaded)]


def _unsupported(runs: list[PlannedRun], loaded: LoadedTask) -> Iterable[str]:
    """Reasons why methods cannot solve a task."""
    problems = []
    for run in {run.method: run for run in runs}.values():  # seeds make no difference
        support = run.config.searcher.supports(make_problem(run.config, loaded.task))
        if not support.ok:
            problems.append(f"{run.method} cannot solve {run.task}: {support.reason}")
    return problems


def _all(problems: list[str], remedy: str) -> UserError:
    if len(problems) == 1:
        return UserError(problems[0], remedy)
    return UserError(f"{len(problems)} problems:\n" + "\n".join(f"  {one}" for one in problems), remedy)
