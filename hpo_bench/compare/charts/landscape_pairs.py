"""The landscape of four objectives and more: a panel for every pair of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpo_bench.compare.charts.end_points import EXPLAINED, end_points
from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.cohort import TaskRuns

LOW = -0.03  # where a panel begins
GAP = 0.2  # between panels, of a panel's side
DOT = "8"  # at this size an octagon looks as a circle does, and is drawn in a third less time


def pairs(task: TaskRuns, weights: np.ndarray, colours: dict[str, Any], what: str, title: str) -> Figure:
    """Weights (N, K) as points, pair by pair, and where each method ended.

    All panels lie in one Axes, side by side: with an Axes for each, their axes took most of the time of `compare`.
    """
    names = task.objectives
    across = len(names) - 1
    width, height = 2.6 + 1.3 * across, 1.3 + 1.25 * across
    left, right, bottom, top = 0.65 / width, 1 - 1.3 / width, 0.5 / height, 1 - 0.45 / height
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    ends = [run for method in task.weightings.values() for run in method.weights]
    high = min(1.0, float(np.max([weights.max(), *map(np.max, ends)]))) + 0.05  # nothing lies outside its panel
    pitch = (1 + GAP) * (high - LOW)  # from one panel to the next, in weight
    x = np.array([column for row in range(across) for column in range(row + 1)])
    y = np.array([row + 1 for row in range(across) for _ in range(row + 1)])
    corners = np.stack([x, across - y], axis=1) * pitch  # (P, 2): where each panel's weights 0, 0 lie

    def place(points: np.ndarray) -> np.ndarray:
        return (np.stack([points[:, x], points[:, y]], axis=-1) + corners).reshape(-1, 2)

    end = LOW + across * pitch - GAP * (high - LOW)
    axes.set(xlim=(LOW, end), ylim=(LOW, end))
    _frames(axes, corners, high)
    _labels(axes, names, pitch, high)
    again = {**colours, "c": np.repeat(colours["c"], len(corners))}
    along, up = place(weights).T
    points = axes.scatter(along, up, s=10, linewidths=0, rasterized=True, marker=DOT, **again)
    end_points(task, axes, place, 6.0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    beside = figure.add_axes((1 - 1.05 / width, bottom, 0.16 / width, 0.6 * (top - bottom)))
    figure.colorbar(points, cax=beside, label=what)
    shown = axes.get_legend_handles_labels()
    corner = 1 - 0.1 / width, 1 - 0.4 / height
    figure.legend(*shown, title=EXPLAINED, title_fontsize=8, loc="upper right", bbox_to_anchor=corner)
    return figure


def _frames(axes: Axes, corners: np.ndarray, high: float) -> None:
    """Two sides of every panel, its grid, and the line beyond which two weights would sum to more than 1."""
    from_, to = max(0.0, 1 - high), min(1.0, high)
    sum_to_one = [[(from_, to), (to, from_)]] if from_ < to else []  # else it lies outside
    level = [[(LOW, tick), (high, tick)] for tick in _ticks(high)]
    upright = [[(tick, LOW), (tick, high)] for tick in _ticks(high)]
    looks: list[tuple[list[Any], dict[str, Any]]] = [
        ([*level, *upright], {"colors": "#E4E4E4", "linewidths": 0.6, "zorder": 0}),
        (sum_to_one, {"colors": "#BBBBBB", "linewidths": 0.7}),
        ([[(LOW, high), (LOW, LOW), (high, LOW)]], {"colors": "black", "linewidths": 0.8, "zorder": 2.5}),
    ]
    for lines, look in looks:
        everywhere = [corner + line for corner in corners for line in lines]
        axes.add_collection(LineCollection(everywhere, clip_on=False, **look), autolim=False)


def _labels(axes: Axes, names: tuple[str, ...], pitch: float, high: float) -> None:
    """Numbers and names below the lowest panels and left of the leftmost."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    shifts = np.arange(len(names) - 1) * pitch
    numbers = [f"{tick:.4g}" for tick in _ticks(high)] * len(shifts)
    places = (shifts[:, None] + _ticks(high)).ravel()
    middles = shifts + (LOW + high) / 2
    axes.set_xticks(places, numbers, fontsize=7)
    axes.set_yticks(places, numbers, fontsize=7)
    axes.set_xticks(middles, names[:-1], minor=True)
    axes.set_yticks(middles, names[:0:-1], minor=True, rotation=90, va="center")
    axes.tick_params("x", which="minor", length=0, pad=18)
    axes.tick_params("y", which="minor", length=0, pad=27)
    for axis in (axes.xaxis, axes.yaxis):
        axis.remove_overlapping_locs = False  # a name may stand right below a number


def _ticks(high: float) -> np.ndarray:
    ticks = np.asarray(MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high))
    return ticks[(ticks >= 0) & (ticks <= high)]
