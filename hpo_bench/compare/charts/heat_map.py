"""Method x task: how much of the reference's error each method takes away."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.aggregate import task_gains
from hpo_bench.compare.stats.intervals import Estimate, mean_interval
from hpo_bench.compare.style import method_order, metric_name
from hpo_bench.compare.tables.table import score


def heat_map(tasks: list[TaskRuns], reference: str) -> Figure | None:
    """Colour: relative reduction of error; text: it and the test score; bold where the interval excludes 0."""
    methods = [m for m in method_order({label for task in tasks for label in task.methods}) if m != reference]
    gains = [[gain(task, label, reference) for task in tasks] for label in methods]
    values = np.array([[cell.value for cell in row] for row in gains], dtype=float)
    if not np.isfinite(values).any():
        return None
    figure = new_figure(2.6 + 1.15 * len(tasks), 1.7 + 0.55 * len(methods))
    axes = figure.add_subplot()
    limit = max(0.02, float(np.nanmax(np.abs(values))))
    image = axes.imshow(100 * values, cmap="PuOr_r", vmin=-100 * limit, vmax=100 * limit, aspect="auto")
    for i, label in enumerate(methods):
        for j, task in enumerate(tasks):
            cell = gains[i][j]
            if not np.isfinite(cell.value):
                axes.text(j, i, "not run", ha="center", va="center", fontsize=7, color="#777777")
                continue
            test = mean_interval(task.methods[label].test).value
            dark = abs(cell.value) > 0.65 * limit
            axes.text(
                j,
                i,
                f"{100 * cell.value:+.1f} %\n{score(test)}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if dark else "#222222",
                fontweight="bold" if cell.excludes(0) else "normal",
            )
    named = [f"{task.label}\n{metric_name(task.metric)}" for task in tasks]
    axes.set_xticks(range(len(tasks)), named, fontsize=8)
    axes.set_yticks(range(len(methods)), methods)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(f"error taken away from {reference}, and test score\n(bold: 95 % interval excludes 0)", fontsize=9)
    figure.colorbar(image, ax=axes, label=f"reduction of {reference}'s error, %", shrink=0.9)
    return figure


def gain(task: TaskRuns, label: str, reference: str) -> Estimate:
    """Mean share of the reference's error that a method takes away on a task, with its interval."""
    gains = task_gains(task, label, reference)
    return Estimate(np.nan) if gains is None else mean_interval(gains)
