"""Test score against the cost of finding the weights."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.figures.save import new_figure
from hpo_bench.compare.intervals import repetition_means
from hpo_bench.compare.style import method_style, metric_label, metric_name
from hpo_bench.compare.summary import Row


def cost_accuracy(task: TaskRuns, rows: list[Row]) -> Figure:
    """Mean test score with its 95 % interval, single repetitions as small dots, Pareto front as a line."""
    figure = new_figure(7.0, 4.2)
    axes = figure.add_subplot()
    styles = method_style([row.method for row in rows])
    for row in rows:
        colour, marker = styles[row.method]
        runs = task.methods[row.method]
        scored = np.isfinite(runs.test).any(axis=1)
        axes.scatter(runs.cost[scored], repetition_means(runs.test), s=9, color=colour, alpha=0.45, linewidths=0)
        error = [[row.test.half_width]] * 2 if row.test.has_interval else None
        axes.errorbar(
            row.cost,
            row.test.value,
            yerr=error,
            color=colour,
            marker=marker,
            markersize=11 if marker == "*" else 7,
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=3,
            label=row.method,
            zorder=3,
        )
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.cost)
    if len(front) > 1:
        path = [row.cost for row in front], [row.test.value for row in front]
        axes.plot(*path, color="#333333", linewidth=1, linestyle=(0, (4, 2)), label="Pareto front of the means", zorder=2)
    axes.set_xscale("log")
    _widen(axes, [row.cost for row in rows])
    axes.set_xlabel("cost of the search, step-equivalents (1 = forward pass of one pretraining batch)")
    axes.set_ylabel(f"test {metric_label(task.metric, task.higher_is_better)}")
    axes.set_title(f"{task.label}: test {metric_name(task.metric)} against the cost of finding the weights")
    repetitions = sorted({row.n for row in rows})
    note = f"bars: 95 % interval over {'–'.join(str(n) for n in {repetitions[0], repetitions[-1]})} repetitions"
    if not any(row.test.has_interval for row in rows):
        note = "one repetition each: no interval"
    figure.legend(loc="outside right center", title=note.replace(" over ", "\nover ").replace(": ", ":\n"), title_fontsize=8)
    return figure


def _widen(axes, costs: list[float]) -> None:  # noqa: ANN001
    positive = [cost for cost in costs if cost > 0] or [1.0]
    axes.set_xlim(min(positive) / 1.8, max(positive) * 1.8)
