"""Interactive figures over all tasks: heat map and average ranks."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from hpo_bench.compare.charts.heat_map import gain
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.report.plots import Plot, mark_of
from hpo_bench.compare.report.records import digits
from hpo_bench.compare.stats.intervals import mean_interval
from hpo_bench.compare.stats.ranks import Ranking, critical_difference
from hpo_bench.compare.style import method_order, metric_name
from hpo_bench.compare.tables.table import score

PUOR = ("#2D004B", "#542788", "#8073AC", "#B2ABD2", "#D8DAEB", "#F7F7F7",
        "#FEE0B6", "#FDB863", "#E08214", "#B35806", "#7F3B08")  # fmt: skip


def heat_map(tasks: list[TaskRuns], reference: str) -> Plot | None:
    """Method x task: share of the reference's error taken away."""
    methods = [m for m in method_order({label for task in tasks for label in task.methods}) if m != reference]
    gains = [[gain(task, label, reference) for task in tasks] for label in methods]
    values = np.array([[100 * cell.value for cell in row] for row in gains], dtype=float)
    if not np.isfinite(values).any():
        return None
    limit = max(2.0, float(np.nanmax(np.abs(values))))
    text = [
        [_cell(task, label, gains[i][j]) for j, task in enumerate(tasks)] for i, label in enumerate(methods)
    ]  # fmt: skip
    trace = {
        "type": "heatmap", "z": digits(values, 4), "text": text, "texttemplate": "%{text}", "zmin": -limit,
        "zmax": limit, "colorscale": [[i / 10, colour] for i, colour in enumerate(PUOR)], "xgap": 2, "ygap": 2,
        "x": [f"{escape(task.label)}<br>{metric_name(task.metric)}" for task in tasks],
        "y": [escape(label) for label in methods], "hovertemplate": "%{y} on %{x}<br>%{text}<extra></extra>",
        "showscale": False,  # the numbers are in the cells
    }  # fmt: skip
    return Plot(
        f"error taken away from {reference}",
        "First line: share of the reference's error that is gone, same seeds (orange: better). Second line: test "
        "score. Bold: the 95 % interval excludes 0.",
        [trace],
        {
            "yaxis": {"autorange": "reversed", "showgrid": False, "type": "category"},
            "xaxis": {"showgrid": False, "type": "category"},
        },
        height=190 + 52 * len(methods),
    )


def ranks(ranking: Ranking | None) -> Plot | None:
    """Average ranks; two methods whose bars do not overlap differ by Nemenyi's test. None with too few tasks."""
    if ranking is None or ranking.p_nemenyi is None:
        return None
    gap = critical_difference(len(ranking.methods), ranking.tasks)
    low, high = min(1.0, ranking.average.min() - gap / 2), max(len(ranking.methods), ranking.average.max() + gap / 2)
    traces: list[dict[str, Any]] = []
    for place in np.argsort(ranking.average, kind="stable"):
        label = ranking.methods[place]
        mark = mark_of(label, ranking.methods)
        traces.append(
            {"x": [digits(ranking.average[place], 4)], "y": [escape(label)], "mode": "markers", "showlegend": False,
             "marker": {**mark, "size": 13}, "hovertemplate": "%{y}: average rank %{x:.2f}<extra></extra>",
             "error_x": {"type": "data", "array": [digits(gap / 2, 4)], "color": mark["color"], "thickness": 4,
                         "width": 0}}
        )  # fmt: skip
    return Plot(
        f"average rank over {ranking.tasks} tasks",
        f"1 is best. Bars are half the critical difference ({gap:.2f}) to either side: methods whose bars overlap "
        "cannot be told apart (Nemenyi, 5 %).",
        traces,
        {
            "xaxis": {"title": {"text": "average rank"}, "dtick": 1, "range": [low - 0.15, high + 0.15]},
            "yaxis": {"autorange": "reversed", "showgrid": False, "type": "category"},
        },
        height=150 + 36 * len(traces),
    )


def _cell(task: TaskRuns, label: str, cell: Any) -> str:
    if not np.isfinite(cell.value):
        return "not run"
    said = f"{100 * cell.value:+.1f} %<br>{score(mean_interval(task.methods[label].test).value)}"
    return f"<b>{said}</b>" if cell.excludes(0) else said
