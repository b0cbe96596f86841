"""Test score against the cost of finding the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from hpo_bench.compare.charts.marks import PAPER, Axis, Chart, Line, Mark, Panel, Points, dot
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import in_lines, method_style, metric_label, metric_name
from hpo_bench.compare.tables.table import plus_minus

STEP_ASIDE = 0.055  # of a decade between two marks
MOST_ASIDE = math.log10(1.15)  # in decades


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
    aside = ". Marks of like cost are moved apart, by 15 % at most" if moved else ""
    x = Axis("cost of the search, step-equivalents", log=True, limits=(min(places) / 1.6, max(places) * 1.6))
    y = Axis(in_lines(f"test {metric_label(task.metric, task.higher_is_better)}"))
    return Chart(
        f"test {metric_name(task.metric)} against the cost of finding the weights",
        f"Large mark: mean; {bar}small mark: one repetition{aside}.",
        [Panel(marks, x, y)],
        task.label,
    )


def side_by_side(costs: list[float]) -> list[float]:
    """Costs (M,) moved apart where marks would cover each other on the log axis: in their order, and hardly.

    The least sum of squared moves that leaves `STEP_ASIDE` between neighbours; where many methods cost the same, less
    is left between them, so that no mark is moved by more than `MOST_ASIDE`.
    """
    logs = np.log10(np.maximum(costs, 1e-9))
    order = np.argsort(logs, kind="stable")
    ahead = np.arange(len(logs), dtype=float)
    step, places = STEP_ASIDE, logs.copy()
    while True:
        least = isotonic_regression(logs[order] - step * ahead).x + step * ahead
        places[order] = least
        if np.abs(places - logs).max(initial=0.0) <= MOST_ASIDE:
            return (10**places).tolist()
        step *= 0.9
