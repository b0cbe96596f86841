"""Final weights of every method, with their spread over repetitions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import legend_columns, new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import method_style


def final_weights(task: TaskRuns) -> Figure:
    """One group of bars per objective, one bar per method (mean), one dot per repetition; the line is equal weights."""
    labels, objectives = list(task.methods), task.objectives
    styles = method_style(labels)
    figure = new_figure(max(6.4, 1.8 + 0.16 * len(labels) * len(objectives) + 0.25 * len(objectives)), 3.8)
    axes = figure.add_subplot()
    width = 0.84 / len(labels)
    for place, label in enumerate(labels):
        colour, marker = styles[label]
        weights = task.methods[label].weights
        x = np.arange(len(objectives)) + (place - (len(labels) - 1) / 2) * width
        axes.bar(x, weights.mean(axis=0), width * 0.92, color=colour, alpha=0.55, label=label)
        shift = np.linspace(-0.25, 0.25, len(weights)) * width if len(weights) > 1 else np.zeros(1)
        size = 22 if marker == "*" else 10
        spread = (x[None] + shift[:, None]).ravel()
        axes.scatter(spread, weights.ravel(), s=size, color=colour, marker=marker, edgecolor="#222222", linewidth=0.4)
    axes.axhline(1 / len(objectives), color="#333333", linewidth=0.9, linestyle="--")
    axes.set_xticks(np.arange(len(objectives)), objectives, rotation=20 if max(map(len, objectives)) > 12 else 0)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, None)
    axes.set_ylabel("weight in the end (sums to 1)")
    axes.set_xlabel("objective")
    axes.set_title(f"{task.label}: weights that each method ends with")
    title = "bar: mean, mark: one repetition\ndashed: equal weights"
    figure.legend(loc="outside right center", title=title, title_fontsize=8, ncols=legend_columns(len(labels)))
    return figure
