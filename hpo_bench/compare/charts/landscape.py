"""The valid score over the simplex of weights, from all trials, and where each method ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.end_points import EXPLAINED, end_points
from hpo_bench.compare.charts.landscape_pairs import pairs
from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import method_style, metric_name

MIN_TRIALS = 4
HEIGHT = np.sqrt(3) / 2  # of the triangle of side 1


def landscape(task: TaskRuns, reference: str) -> Figure | None:
    """A line for two objectives, a triangle for three, pairs of weights for more; None with too few trials.

    Colour is the valid score minus the reference's with the same seed, which takes the luck of the repetition out;
    where a repetition lacks the reference, every score is shown as it is.
    """
    weights, values, relative = scored_weights(task, reference)
    if len(values) < MIN_TRIALS:
        return None
    names = task.objectives
    order = np.argsort(values if task.higher_is_better else -values)  # the best on top
    weights, values = weights[order], values[order]
    what = f"valid {metric_name(task.metric)}" + (f" minus {reference}'s, same seed" if relative else "")
    better = "higher" if task.higher_is_better else "lower"
    title = f"{task.label}: valid {metric_name(task.metric)} over the weights tried ({better} is better)"
    if len(names) == 2:
        return _line(task, weights, values, what, title)
    low, high = np.quantile(values, [0.02, 0.98])
    bright = "viridis" if task.higher_is_better else "viridis_r"  # bright is good
    colours = {"c": values, "cmap": bright, "vmin": low, "vmax": high}
    draw = _triangle if len(names) == 3 else pairs
    return draw(task, weights, colours, what, title)


def scored_weights(task: TaskRuns, reference: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """All trials with constant weights: weights (N, K), values (N,), and whether they are relative to the reference."""
    base = task.methods.get(reference)
    origin = dict(zip(base.seeds, base.search_value.tolist(), strict=True)) if base is not None else {}
    weights, values, seeds = [], [], []
    for runs in task.methods.values():
        for repetition, seed in enumerate(runs.seeds):
            for trial in runs.constant_trials(repetition):
                weights.append(trial["weights"])
                values.append(trial["value"])
                seeds.append(seed)
    relative = bool(values) and all(np.isfinite(origin.get(seed, np.nan)) for seed in seeds)
    shift = [origin[seed] for seed in seeds] if relative else [0.0] * len(seeds)
    return np.array(weights).reshape(-1, len(task.objectives)), np.array(values) - np.array(shift), relative


def corners_to_plane(weights: np.ndarray) -> np.ndarray:
    """Weights (N, 3) as points (N, 2): corners at (0, 0), (1, 0) and (1/2, √3/2)."""
    return np.stack([weights[:, 1] + weights[:, 2] / 2, weights[:, 2] * HEIGHT], axis=1)


def _line(task: TaskRuns, weights: np.ndarray, values: np.ndarray, what: str, title: str) -> Figure:
    figure = new_figure(6.8, 3.8)
    axes = figure.add_subplot()
    axes.scatter(weights[:, 0], values, s=18, color="#555555", alpha=0.6, linewidths=0)
    styles = method_style(task.methods)
    for label, runs in task.weightings.items():
        ends, (colour, marker) = runs.weights[:, 0], styles[label]
        axes.axvline(ends.mean(), color=colour, linewidth=1, alpha=0.7)
        axes.plot(ends.mean(), 0.02, marker, color=colour, transform=axes.get_xaxis_transform(), label=label)
    axes.set_xlabel(f"weight of {task.objectives[0]} (the rest goes to {task.objectives[1]})")
    axes.set_ylabel(what)
    axes.set_title(title)
    figure.legend(loc="outside right center", title="mean end point", title_fontsize=8)
    return figure


def _triangle(task: TaskRuns, weights: np.ndarray, colours: dict[str, Any], what: str, title: str) -> Figure:
    figure = new_figure(6.8, 4.8)
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    for share in (0.25, 0.5, 0.75):
        for turn in range(3):
            ends = np.roll(np.array([[share, 1 - share, 0], [share, 0, 1 - share]]), turn, axis=1)
            axes.plot(*corners_to_plane(ends).T, color="#DDDDDD", linewidth=0.7, zorder=0)
    axes.plot(*corners_to_plane(np.eye(3)[[0, 1, 2, 0]]).T, color="#333333", linewidth=1)
    x, y = corners_to_plane(weights).T
    points = axes.scatter(x, y, s=34, edgecolor="white", linewidth=0.3, rasterized=True, **colours)
    placed = zip(task.objectives, corners_to_plane(np.eye(3)), ("right", "left", "center"), strict=True)
    for name, corner, side in placed:
        shift = {"right": (-6, 0), "left": (6, 0), "center": (0, 6)}[side]
        axes.annotate(name, corner, xytext=shift, textcoords="offset points", ha=side)
    end_points(task, axes, corners_to_plane)
    figure.colorbar(points, ax=axes, label=what, shrink=0.7)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes.legend(loc="upper left", title=EXPLAINED, title_fontsize=8, bbox_to_anchor=(-0.12, 1.0))
    return figure
