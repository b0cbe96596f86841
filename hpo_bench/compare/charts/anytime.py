"""Best valid score so far against the cost spent."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import legend_columns, log_cost_axis, new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.costs import band, common_axis
from hpo_bench.compare.style import method_style, metric_label, metric_name


def anytime(task: TaskRuns) -> Figure:
    """Median over repetitions and the band of their middle half, on one cost axis for all methods."""
    figure = new_figure(7.0, 4.2)
    axes = figure.add_subplot()
    styles = method_style(task.methods)
    curves = {label: runs.curves() for label, runs in task.methods.items()}
    axis = common_axis([curve for some in curves.values() for curve in some])
    for label, some in curves.items():
        colour, marker = styles[label]
        over = band(some, axis)
        ends = [curve.cost[-1] for curve in some if len(curve.cost)]
        if not ends or not np.isfinite(over.median).any():
            continue
        first = int(np.flatnonzero(np.isfinite(over.median))[0])
        last = max(int(np.searchsorted(axis, max(ends))), first)
        shown = slice(first, last + 1)
        edges = over.low[shown], over.high[shown]
        axes.fill_between(axis[shown], *edges, color=colour, alpha=0.1, linewidth=0, step="post")
        axes.step(axis[shown], over.median[shown], where="post", color=colour)
        end = min(last, len(axis) - 1)
        axes.plot([axis[end]] * 2, [over.low[end], over.high[end]], color=colour, linewidth=1, alpha=0.8)
        axes.plot(axis[end:], over.median[end:], color=colour, linewidth=1, linestyle=":", alpha=0.8)
        size = 9 if marker == "*" else 6
        axes.plot(axis[end], over.median[end], marker=marker, color=colour, markersize=size, label=label)
    log_cost_axis(axes)
    axes.set_xlabel("cost spent so far, step-equivalents")
    axes.set_ylabel(f"best valid {metric_label(task.metric, task.higher_is_better)}")
    axes.set_title(f"{task.label}: best valid {metric_name(task.metric)} found so far")
    title = "line: median of repetitions\nband: their middle half\nmarker: the search ends\n(dotted: carried on)"
    figure.legend(loc="outside right center", title=title, title_fontsize=8, ncols=legend_columns(len(task.methods)))
    return figure
