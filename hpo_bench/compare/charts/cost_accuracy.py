"""Test score against the cost of finding the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpo_bench.compare.charts.marks import PAPER, Axis, Chart, Line, Mark, Panel, Points, dot
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import in_lines, method_style, metric_label, metric_name
from hpo_bench.compare.tables.table import plus_minus

STEP_ASIDE = 0.055  # of a decade at least between two marks


def cost_accuracy(task: TaskRuns, rows: list[Row]) -> Chart | None:
    """Mean test score with its 95 % interval, single repetitions, Pareto front; None without test scores."""
    rows = [row for row in rows if np.isfinite(row.test.value)]
    if not rows:
        return None
    styles = method_style([row.method for row in rows])
    places = side_by_side([row.cost for row in rows])
    front = sorted((place, row.test.value) for row, place in zip(rows, places, strict=True) if row.on_front)
    marks: list[Mark] = []
    if len(front) > 1:
        x, y = np.array(front).T
        marks.append(Line(x, y, "Pareto front", width=1.0, dashed=True, legend=True))
    for row, place in zip(rows, places, strict=True):
        colour, marker = styles[row.method]
        own = task.methods[row.method]
        said = f"{row.method}: {plus_minus(row.test)}\n{row.cost:,.0f} step-equivalents"
        look: dict[str, Any] = {"label": row.method, "colour": colour, "marker": marker, "edge": PAPER}
        mean = dot(row.test, place, "y", said, size=8.0, legend=True, **look)
        scored = [folder for folder, line in zip(own.folders, own.test, strict=True) if np.isfinite(line).any()]
        each = repetition_means(own.test)
        marks += [mean, Points(np.full(len(each), place), each, size=4.0, alpha=0.8, folders=scored, **look)]
    bar = "bar: 95 % interval; " if any(row.test.has_interval for row in rows) else "no interval: one repetition; "
    moved = any(abs(place / row.cost - 1) > 0.01 for row, place in zip(rows, places, strict=True) if row.cost > 0)
    aside = ". Equal costs are drawn side by side" if moved else ""
    x = Axis("cost of the search, step-equivalents", log=True, limits=(min(places) / 1.6, max(places) * 1.6))
    y = Axis(in_lines(f"test {metric_label(task.metric, task.higher_is_better)}"))
    return Chart(
        f"test {metric_name(task.metric)} against the cost of finding the weights",
        f"Large mark: mean; {bar}small mark: one repetition{aside}.",
        [Panel(marks, x, y)],
        task.label,
    )


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
