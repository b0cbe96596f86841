"""Test score against the cost of finding the weights."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import legend_columns, log_cost_axis, new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import method_style, metric_label, metric_name

STEP_ASIDE = 0.055  # of a decade at least between two marks


def cost_accuracy(task: TaskRuns, rows: list[Row]) -> Figure | None:
    """Mean test score with its 95 % interval, single repetitions as dashes, Pareto front as a line.

    None where nothing was retrained, so that there is no test score.
    """
    rows = [row for row in rows if np.isfinite(row.test.value)]
    if not rows:
        return None
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    styles = method_style([row.method for row in rows])
    places = side_by_side([row.cost for row in rows])
    for row, place in zip(rows, places, strict=True):
        colour, marker = styles[row.method]
        means = repetition_means(task.methods[row.method].test)
        axes.scatter(np.full(len(means), place), means, s=26, color=colour, alpha=0.45, marker="_", linewidths=1.2)
        axes.errorbar(
            place,
            row.test.value,
            yerr=row.test.half_width if row.test.has_interval else None,
            color=colour,
            linewidth=1.2,
            marker=marker,
            markersize=12 if marker == "*" else 7.5,
            markeredgecolor="white",
            markeredgewidth=0.7,
            capsize=3,
            linestyle="none",
            label=row.method,
            zorder=3,
        )
    front = sorted((place, row.test.value) for row, place in zip(rows, places, strict=True) if row.on_front)
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color="#333333", linewidth=1, linestyle=(0, (4, 2)), label="Pareto front")
    axes.set_xlim(min(places) / 1.6, max(places) * 1.6)
    log_cost_axis(axes)
    axes.set_xlabel("cost of the search, step-equivalents")
    axes.set_ylabel(f"test {metric_label(task.metric, task.higher_is_better)}")
    axes.set_title(f"{task.label}: test {metric_name(task.metric)} against the cost of finding the weights")
    title, columns = _legend_title(rows, places), legend_columns(len(rows) + 1)
    figure.legend(loc="outside right center", title=title, title_fontsize=8, ncols=columns)
    return figure


def side_by_side(costs: list[float]) -> list[float]:
    """Costs (M,) moved apart, as little as it takes, where two marks would cover each other on the log axis."""
    logs = [math.log10(max(cost, 1e-9)) for cost in costs]
    order = sorted(range(len(logs)), key=lambda index: (logs[index], index))
    groups: list[list[int]] = []
    for index in order:
        if groups and logs[index] - logs[groups[-1][-1]] < STEP_ASIDE:
            groups[-1].append(index)
        else:
            groups.append([index])
    places = list(logs)
    for group in groups:
        middle = sum(logs[index] for index in group) / len(group)
        for rank, index in enumerate(group):
            if len(group) > 1:
                places[index] = middle + (rank - (len(group) - 1) / 2) * STEP_ASIDE
    return [10**place for place in places]


def _legend_title(rows: list[Row], places: list[float]) -> str:
    counts = sorted({row.n for row in rows})
    repetitions = f"{counts[0]} repetitions" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} repetitions"
    lines = [f"bar: 95 % interval,\n{repetitions}", "dash: one repetition"]
    if not any(row.test.has_interval for row in rows):
        lines = ["one repetition each:\nno interval"]
    if any(abs(place / row.cost - 1) > 0.01 for row, place in zip(rows, places, strict=True) if row.cost > 0):
        lines.append("equal costs are drawn\nside by side")
    return "\n".join(lines)
