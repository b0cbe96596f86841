"""Where each method ended, as marks on a landscape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import method_style

EXPLAINED = "mean end point\n(small: one\nrepetition)"  # title of the legend


def end_points(task: TaskRuns, axes: Axes, place: Callable[[np.ndarray], np.ndarray], size: float = 7.0) -> None:
    """Every repetition's final weights as small marks, their mean as a large one.

    `place` turns weights (R, K) into points (M, 2): R of them, or R for each of several panels.
    """
    styles = method_style(task.methods)
    for label, runs in task.weightings.items():
        ends, (colour, marker) = runs.weights, styles[label]
        own = size * 1.5 if marker == "*" else size
        look: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": "none", "markeredgecolor": "black"}
        axes.plot(*place(ends).T, markersize=0.55 * own, markeredgewidth=0.5, alpha=0.85, zorder=3, **look)
        mean = ends.mean(axis=0, keepdims=True)
        axes.plot(*place(mean).T, markersize=own, markeredgewidth=0.8, zorder=4, label=label, **look)
