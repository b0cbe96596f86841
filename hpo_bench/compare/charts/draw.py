"""All figures of a comparison: which there are, and what writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from hpo_bench.compare.charts.anytime import anytime
from hpo_bench.compare.charts.cost_accuracy import cost_accuracy
from hpo_bench.compare.charts.heat_map import heat_map
from hpo_bench.compare.charts.landscape import landscape
from hpo_bench.compare.charts.rank_diagram import rank_diagram
from hpo_bench.compare.charts.save import save
from hpo_bench.compare.charts.time_spent import time_spent
from hpo_bench.compare.charts.trajectories import trajectories
from hpo_bench.compare.charts.weights import final_weights
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.side_by_side import Job
from hpo_bench.compare.stats.ranks import Ranking
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import applied

Drawing = Callable[[], Figure | None]  # None: the records do not hold what it takes


def drawings(
    tasks: Sequence[TaskRuns], rows: Mapping[str, list[Row]], ranking: Ranking | None, reference: str
) -> dict[str, Drawing]:
    """Figures by name, the slowest first: a folder per task, and those over all tasks beside the folders."""
    found: dict[str, Drawing] = {f"{task.slug}/landscape": partial(landscape, task, reference) for task in tasks}
    for task in tasks:
        found[f"{task.slug}/cost-accuracy"] = partial(cost_accuracy, task, rows[task.label])
        found[f"{task.slug}/anytime"] = partial(anytime, task)
        found[f"{task.slug}/weights"] = partial(final_weights, task)
        found[f"{task.slug}/trajectories"] = partial(trajectories, task)
        found[f"{task.slug}/time"] = partial(time_spent, task, rows[task.label])
    if len(tasks) > 1:
        found["heat-map"] = partial(heat_map, list(tasks), reference)
        found["ranks"] = partial(rank_diagram, ranking)
    return found


def jobs(figures: Mapping[str, Drawing], folder: Path) -> list[Job]:
    """What writes every figure below `folder`."""
    return [partial(_draw, drawing, folder / name) for name, drawing in figures.items()]


def _draw(drawing: Drawing, path: Path) -> list[Path]:
    with applied():
        figure = drawing()
        return [] if figure is None else save(figure, path)
