"""Interactive figures as plotly's JSON, made from summaries without importing plotly.

Colours that depend on light or dark are written as the names of the page's variables ("--ink"); the page's script puts
their values in. `customdata` of a mark is the place of its run in the embedded records: a click opens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from hpo_bench.compare.charts.cost_accuracy import side_by_side
from hpo_bench.compare.charts.time_spent import PHASES
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.report.records import digits
from hpo_bench.compare.stats.costs import band, common_axis
from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import method_style, metric_label, metric_name

SYMBOLS = {
    "o": "circle", "^": "triangle-up", "s": "square", "D": "diamond", "v": "triangle-down", "*": "star", "P": "cross",
    "X": "x", "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "h": "hexagon", "d": "diamond-tall",
    "8": "octagon", "H": "hexagon2",
}  # fmt: skip
Runs = dict[str, int]  # folder -> place in the embedded records


@dataclass(frozen=True)
class Plot:
    """One figure: plotly's traces and layout, and how to read it.

    `pairs`, where there are more than three objectives, lists every mark's weights: the page draws the two that the
    reader picks.
    """

    title: str
    caption: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 380
    pairs: dict[str, Any] | None = field(default=None)


def cost_accuracy(task: TaskRuns, rows: Sequence[Row], runs: Runs) -> Plot | None:
    """Mean test score with its interval against the search's cost; None without test scores."""
    rows = [row for row in rows if np.isfinite(row.test.value)]
    if not rows:
        return None
    places = side_by_side([row.cost for row in rows])
    traces: list[dict[str, Any]] = []
    for row, place in zip(rows, places, strict=True):
        own, name = task.methods[row.method], escape(row.method)
        means = repetition_means(own.test)
        scored = [folder for folder, line in zip(own.folders, own.test, strict=True) if np.isfinite(line).any()]
        mark = mark_of(row.method, rows)
        traces.append(
            {
                "x": digits([place] * len(means), 6), "y": digits(means), "mode": "markers", "legendgroup": name,
                "customdata": [runs[folder] for folder in scored], "showlegend": False, "name": name,
                "marker": {**mark, "size": 6, "opacity": 0.45},
                "hovertemplate": f"{name}, one repetition: %{{y}}<br>click: its record<extra></extra>",
            }
        )  # fmt: skip
        half = digits(row.test.half_width) if row.test.has_interval else None
        said = f" ± {half:.3g}" if half is not None else ""
        traces.append(
            {
                "x": [digits(place, 6)], "y": [digits(row.test.value)], "mode": "markers", "legendgroup": name,
                "name": name, "marker": {**mark, "size": 13, "line": {"color": "--page", "width": 1}},
                "error_y": {"type": "data", "array": [half], "visible": half is not None, "width": 5,
                            "thickness": 1.6, "color": mark["color"]},
                "hovertemplate": f"<b>{name}</b><br>%{{y}}{said}<br>{row.cost:,.0f} step-equivalents<extra></extra>",
            }
        )  # fmt: skip
    front = sorted((place, row.test.value) for row, place in zip(rows, places, strict=True) if row.on_front)
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        line = {"color": "--ink", "width": 1.3, "dash": "dash"}
        traces.append(
            {"x": digits(x, 6), "y": digits(y), "mode": "lines", "name": "Pareto front", "line": line,
             "hoverinfo": "skip"}
        )  # fmt: skip
    bar = "bar: 95 % interval; " if any(row.test.has_interval for row in rows) else ""
    return Plot(
        f"test {metric_name(task.metric)} against cost",
        f"Large mark: mean; {bar}small mark: one repetition (click it for its record). "
        "Equal costs are drawn side by side.",
        traces,
        {
            "xaxis": cost_axis("cost of the search, step-equivalents"),
            "yaxis": {"title": {"text": f"test {metric_label(task.metric, task.higher_is_better)}"}},
        },
    )


def anytime(task: TaskRuns) -> Plot | None:
    """Best valid score so far: median over repetitions, and the band of their middle half."""
    curves = {label: own.curves() for label, own in task.methods.items()}
    axis = common_axis([curve for some in curves.values() for curve in some])
    traces: list[dict[str, Any]] = []
    for label, some in curves.items():
        over, name = band(some, axis), escape(label)
        ends = [curve.cost[-1] for curve in some if len(curve.cost)]
        finite = np.flatnonzero(np.isfinite(over.median))
        if not ends or not len(finite):
            continue
        last = min(max(int(np.searchsorted(axis, max(ends))), int(finite[0])), len(axis) - 1)
        shown = np.arange(finite[0], last + 1)
        table = np.stack([over.low, over.median, over.high])[:, shown]
        turns = np.flatnonzero(np.r_[True, (np.diff(table, axis=1) != 0).any(axis=0)])  # a step line needs no more
        keep = np.unique(np.r_[turns, len(shown) - 1])
        x, (low, median, high) = digits(axis[shown][keep], 6), digits(table[:, keep])
        mark = mark_of(label, list(task.methods))
        edge = {"x": x, "mode": "lines", "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip", "legendgroup": name}
        traces += [
            {**edge, "y": low, "showlegend": False},
            {**edge, "y": high, "showlegend": False, "fill": "tonexty", "fillcolor": faint(mark["color"], 0.16)},
            {"x": x, "y": median, "mode": "lines", "line": {"shape": "hv", "color": mark["color"], "width": 2},
             "legendgroup": name, "showlegend": False, "hovertemplate": f"{name}: %{{y}}<extra></extra>"},
            {"x": x[-1:], "y": median[-1:], "mode": "markers", "marker": {**mark, "size": 11}, "name": name,
             "legendgroup": name, "hovertemplate": f"{name}, at the end: %{{y}}<extra></extra>",
             "error_y": {"type": "data", "symmetric": False, "array": [high[-1] - median[-1]],
                         "arrayminus": [median[-1] - low[-1]], "color": mark["color"], "thickness": 1, "width": 0}},
        ]  # fmt: skip
    if not traces:
        return None
    return Plot(
        f"best valid {metric_name(task.metric)} found so far",
        "Line: median of repetitions; band and thin bar: their middle half; mark: the search ends.",
        traces,
        {
            "xaxis": cost_axis("cost spent so far, step-equivalents"),
            "yaxis": {"title": {"text": f"valid {metric_label(task.metric, task.higher_is_better)}"}},
        },
    )


def final_weights(task: TaskRuns, runs: Runs) -> Plot:
    """Bars of mean weights per objective, a mark per repetition."""
    labels, objectives = list(task.methods), task.objectives
    width = 0.84 / len(labels)
    traces: list[dict[str, Any]] = []
    for place, label in enumerate(labels):
        own, name, mark = task.methods[label], escape(label), mark_of(label, labels)
        x = np.arange(len(objectives)) + (place - (len(labels) - 1) / 2) * width
        ids = [runs[folder] for folder in own.folders]
        spread = np.linspace(-0.25, 0.25, len(ids)) * width if len(ids) > 1 else np.zeros(1)
        traces += [
            {"type": "bar", "x": digits(x), "y": digits(own.weights.mean(axis=0), 4), "width": width * 0.9,
             "name": name, "legendgroup": name, "marker": {"color": faint(mark["color"], 0.6)},
             "hovertemplate": f"{name}: mean %{{y:.4g}}<extra></extra>"},
            {"x": digits((x[None] + spread[:, None]).ravel()), "y": digits(own.weights.ravel(), 4), "mode": "markers",
             "marker": {**mark, "size": 6, "line": {"color": "--ink", "width": 0.5}}, "showlegend": False,
             "legendgroup": name, "customdata": [run for run in ids for _ in objectives],
             "hovertemplate": f"{name}, one repetition: %{{y:.4g}}<br>click: its record<extra></extra>"},
        ]  # fmt: skip
    ticks = {"tickvals": list(range(len(objectives))), "ticktext": [escape(name) for name in objectives]}
    return Plot(
        "weights that each method ends with",
        "Bar: mean; mark: one repetition (click it); dashed: equal weights.",
        traces,
        {
            "xaxis": {**ticks, "showgrid": False, "range": [-0.55, len(objectives) - 0.45]},
            "yaxis": {"title": {"text": "weight (sums to 1)"}, "rangemode": "tozero"},
            "shapes": [level(1 / len(objectives))],
        },
    )


def time_spent(task: TaskRuns, rows: Sequence[Row]) -> Plot:
    """Stacked bars: seconds of the search by phase, and the same as shares."""
    names = [escape(row.method) for row in rows]
    totals = [sum(row.bill[f"seconds_{phase}"] for phase in PHASES) for row in rows]
    traces: list[dict[str, Any]] = []
    for phase, colour in PHASES.items():
        seconds = [row.bill[f"seconds_{phase}"] for row in rows]
        if not any(seconds):
            continue
        shares = [100 * value / total if total else 0.0 for value, total in zip(seconds, totals, strict=True)]
        bar = {"type": "bar", "orientation": "h", "y": names, "marker": {"color": colour}, "legendgroup": phase}
        hover = {"hovertemplate": f"%{{y}}, {phase}: %{{x:.3~f}} s (%{{customdata:.1f}} %)<extra></extra>"}
        share_hover = {"hovertemplate": f"%{{y}}, {phase}: %{{x:.1f}} %<extra></extra>"}
        as_shares = {"type": "bar", "orientation": "h", "xaxis": "x2"}
        traces.append({**bar, **hover, "x": digits(seconds, 4), "customdata": digits(shares, 3), "name": phase})
        traces.append({**bar, **as_shares, **share_hover, "x": digits(shares, 4), "showlegend": False})
    return Plot(
        "where the time of the search went",
        "Seconds, mean over repetitions, and the same as shares of each method's own time.",
        traces,
        {
            "barmode": "stack",
            "xaxis": {"title": {"text": "seconds"}, "domain": [0, 0.47]},
            "xaxis2": {"title": {"text": "share, %"}, "domain": [0.53, 1], "range": [0, 100], "anchor": "y"},
            "yaxis": {"autorange": "reversed", "showgrid": False},
        },
        height=170 + 34 * len(rows),
    )


def mark_of(label: str, labels: Sequence[str] | Sequence[Row]) -> dict[str, Any]:
    """Colour and symbol of a method, the same as in the printed figures."""
    names = [entry if isinstance(entry, str) else entry.method for entry in labels]
    colour, marker = method_style(names)[label]
    return {"color": colour, "symbol": SYMBOLS[marker]}


def faint(colour: str, alpha: float) -> str:
    """`#RRGGBB` with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def cost_axis(title: str) -> dict[str, Any]:
    """Logarithmic, labelled with plain numbers."""
    return {"type": "log", "title": {"text": title}, "tickformat": ",", "dtick": "D2", "minor": {"showgrid": False}}


def level(height: float, **where: Any) -> dict[str, Any]:
    """A dashed horizontal line across a panel."""
    line = {"color": "--ink", "width": 1, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height, "line": line, **where}
