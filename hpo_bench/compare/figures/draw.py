"""All figures of a comparison: which there are, and writing them, several processes side by side where that helps."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.figures.anytime import anytime
from hpo_bench.compare.figures.cost_accuracy import cost_accuracy
from hpo_bench.compare.figures.heat_map import heat_map
from hpo_bench.compare.figures.landscape import landscape
from hpo_bench.compare.figures.rank_diagram import rank_diagram
from hpo_bench.compare.figures.save import save
from hpo_bench.compare.figures.time_spent import time_spent
from hpo_bench.compare.figures.trajectories import trajectories
from hpo_bench.compare.figures.weights import final_weights
from hpo_bench.compare.ranks import Ranking
from hpo_bench.compare.style import applied
from hpo_bench.compare.summary import Row

Drawing = Callable[[], Figure | None]  # None: the records do not hold what it takes
MANY = 12  # figures from which on other processes help


def drawings(
    tasks: Sequence[TaskRuns], rows: Mapping[str, list[Row]], ranking: Ranking | None, reference: str
) -> dict[str, Drawing]:
    """Figures by name: a folder per task, and those over all tasks beside the folders."""
    found: dict[str, Drawing] = {}
    for task in tasks:
        found[f"{task.slug}/cost-accuracy"] = partial(cost_accuracy, task, rows[task.label])
        found[f"{task.slug}/anytime"] = partial(anytime, task)
        found[f"{task.slug}/weights"] = partial(final_weights, task)
        found[f"{task.slug}/trajectories"] = partial(trajectories, task)
        found[f"{task.slug}/time"] = partial(time_spent, task, rows[task.label])
        found[f"{task.slug}/landscape"] = partial(landscape, task, reference)
    if len(tasks) > 1:
        found["heat-map"] = partial(heat_map, list(tasks), reference)
        found["ranks"] = partial(rank_diagram, ranking)
    return found


def draw_all(figures: Mapping[str, Drawing], folder: Path) -> list[Path]:
    """Write every figure below `folder`; returns the files in the order of `figures`."""
    jobs = [(drawing, folder / name) for name, drawing in figures.items()]
    workers = min(os.cpu_count() or 1, 8)
    if len(jobs) < MANY or workers < 2 or not sys.platform.startswith("linux") or threading.active_count() > 1:
        return [path for job in jobs for path in _draw(job)]  # a fork is cheap and safe on Linux without threads alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            return [path for paths in pool.map(_draw, jobs) for path in paths]


def _draw(job: tuple[Drawing, Path]) -> list[Path]:
    drawing, path = job
    with applied():
        figure = drawing()
        return [] if figure is None else save(figure, path)
