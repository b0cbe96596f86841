"""All figures of a comparison: which there are, and what draws them into files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_bench.compare.charts.anytime import anytime
from hpo_bench.compare.charts.cost_accuracy import cost_accuracy
from hpo_bench.compare.charts.forest import average_ranks
from hpo_bench.compare.charts.landscape import landscape
from hpo_bench.compare.charts.marks import Chart
from hpo_bench.compare.charts.over_tasks import heat_map, performance_profile
from hpo_bench.compare.charts.stacked import equivalence, time_spent
from hpo_bench.compare.charts.weights import final_weights, trajectories
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.side_by_side import Job
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.tables.table import by_task

if TYPE_CHECKING:
    from hpo_bench.compare.comparison import Comparison

Drawing = Callable[[], Chart | None]  # None: the records do not hold what it takes


def of_task(task: TaskRuns, rows: list[Row], reference: str) -> dict[str, Drawing]:
    """Figures of one task by name, in the order of the report."""
    return {
        "cost-accuracy": partial(cost_accuracy, task, rows),
        "anytime": partial(anytime, task),
        "weights": partial(final_weights, task),
        "landscape": partial(landscape, task, reference),
        "trajectories": partial(trajectories, task),
        "time": partial(time_spent, task, rows),
    }


def of_all(comparison: Comparison) -> dict[str, Drawing]:
    """Figures over all tasks by name; for a single task only what was asked for."""
    found: dict[str, Drawing] = {}
    if len(comparison.tasks) > 1:
        found["heat-map"] = partial(heat_map, comparison.tasks, comparison.reference)
        found["ranks"] = partial(average_ranks, comparison.ranking)
        found["profile"] = partial(performance_profile, comparison.profile)
    if comparison.region is not None:
        found["equivalence"] = partial(equivalence, comparison.equivalence, comparison.region, comparison.reference)
    return found


def jobs(comparison: Comparison, folder: Path) -> list[Job]:
    """What draws every figure into `folder`, a folder per task below it; the slowest first."""
    rows = by_task(comparison.rows)
    figures = {
        f"{task.slug}/{name}": drawing
        for task in comparison.tasks
        for name, drawing in of_task(task, rows[task.label], comparison.reference).items()
    } | of_all(comparison)
    slow = sorted(figures, key=lambda name: not name.endswith("landscape"))
    return [partial(_draw, figures[name], folder / name) for name in slow]


def _draw(drawing: Drawing, path: Path) -> list[Path]:

    from hpo_bench.compare.charts.printed import save  # matplotlib: only where something is drawn

    chart = drawing()
    return [] if chart is None else save(chart, path)
