"""Charts as plotly's JSON, made without importing plotly.

Colours that depend on light or dark are written as the names of the page's variables ("--ink"); the page's script puts
their values in. `customdata` of a mark is the place of its run in the embedded records: a click opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hpo_bench.compare.charts.marks import (
    FAINT,
    INK,
    PAPER,
    Axis,
    Band,
    Bars,
    Chart,
    Line,
    Points,
    Rule,
    Text,
    method_size,
)  # fmt: skip
from hpo_bench.compare.report.records import digits

SYMBOLS = {
    "o": "circle", "^": "triangle-up", "s": "square", "D": "diamond", "v": "triangle-down", "*": "star", "P": "cross",
    "X": "x", "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "h": "hexagon", "d": "diamond-tall",
    "8": "octagon", "H": "hexagon2",
}  # fmt: skip
COLOURS = {INK: "--ink", PAPER: "--page", FAINT: "--line"}
PIXELS, INCH = 4 / 3, 80  # of a point; of an inch of print, since a page's letters need less room
Runs = dict[str, int]  # folder -> place in the embedded records


@dataclass(frozen=True)
class Plot:
    """One figure: plotly's traces and layout, and how to read it.

    `pairs`, where the reader picks two weights, lists every mark's weights.
    """

    title: str
    caption: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int
    pairs: dict[str, Any] | None


def plot(chart: Chart, runs: Runs) -> Plot:
    """The chart for the page."""
    beside = chart.across == len(chart.panels) == 2
    rows = 1 if beside else len(chart.panels)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"shapes": [], "annotations": [], "barmode": "overlay"}
    for place, panel in enumerate(chart.panels):
        suffix = "" if place == 0 else str(place + 1)
        x, y = f"x{suffix}", f"y{suffix}"
        axes = {"xaxis": x, "yaxis": y} if suffix else {}
        domains = _domains(place, rows, beside)
        layout[f"xaxis{suffix}"] = _axis(panel.x) | ({"anchor": y, "domain": domains[0]} if suffix or beside else {})
        if rows > 1 and place < rows - 1 and panel.x.label == chart.panels[-1].x.label:
            layout[f"xaxis{suffix}"].pop("title", None)  # it stands below the last panel
        layout[f"yaxis{suffix}"] = _axis(panel.y) | ({"anchor": x, "domain": domains[1]} if rows > 1 or beside else {})
        if chart.share_y and suffix:
            layout[f"yaxis{suffix}"] |= {"matches": "y"} | ({"showticklabels": False} if beside else {})
        if panel.bare:
            layout[f"xaxis{suffix}"]["visible"] = layout[f"yaxis{suffix}"]["visible"] = False
            layout[f"yaxis{suffix}"]["scaleanchor"] = x
        traces += [{**trace, **axes} for mark in panel.marks for trace in _traces(mark, runs)]
        layout["shapes"] += [_shape(mark, x, y) for mark in panel.marks if isinstance(mark, Rule)]
        layout["annotations"] += [_words(mark, x, y) for mark in panel.marks if isinstance(mark, Text)]
        if panel.title:
            layout["annotations"].append(
                {"text": escape(panel.title), "xref": f"{x} domain", "yref": f"{y} domain", "x": 0, "y": 1,
                 "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
            )  # fmt: skip
    named: set[str] = set()
    for trace in traces:  # once in the legend, however many panels show it
        trace["showlegend"] = trace["showlegend"] and trace["name"] not in named
        named |= {trace["name"]} if trace["showlegend"] else set()
    height = round(INCH * chart.size[1] * rows) + 70
    pairs = None
    if chart.choose:
        height, pairs = 440, _pairs(chart)
        layout["shapes"].append(
            {"type": "line", "x0": 0, "y0": 1, "x1": 1, "y1": 0, "line": {"color": "--line", "width": 1}}
        )
    clicks = " Click a small mark for its record." if any("customdata" in trace for trace in traces) else ""
    caption = chart.caption + clicks + (" Pick the two weights to see." if pairs else "")
    return Plot(chart.title, caption, traces, {key: value for key, value in layout.items() if value}, height, pairs)


def _domains(place: int, rows: int, beside: bool) -> tuple[list[float], list[float]]:
    if beside:
        return [0.53 * place, 0.47 + 0.53 * place], [0, 1]
    gap = 0.25 / rows
    high = (1 - gap * (rows - 1)) / rows
    top = 1 - place * (high + gap)
    return [0, 1], [max(top - high, 0), top]


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": _html(axis.label)}} if axis.label else {}
    if axis.log:  # labelled with plain numbers
        found |= {"type": "log", "tickformat": ",", "dtick": "D2", "minor": {"showgrid": False}}
    if axis.limits is not None:
        ends = np.log10(axis.limits).tolist() if axis.log else list(axis.limits)
        found["range"] = digits(ends[::-1] if axis.reverse else ends)
    if axis.from_zero:
        found["rangemode"] = "tozero"
    if axis.ticks is not None:
        found |= {"tickvals": [place for place, _ in axis.ticks], "ticktext": [_html(word) for _, word in axis.ticks]}
    return found if axis.grid else {**found, "showgrid": False}


def _traces(mark: Any, runs: Runs) -> list[dict[str, Any]]:
    match mark:
        case Points():
            return [_points(mark, runs)]
        case Line():
            line = {"color": _colour(mark.colour), "width": round(mark.width * PIXELS, 1)}
            line |= {"dash": "dash"} if mark.dashed else {}
            line |= {"shape": "hv"} if mark.step else {}
            thin = mark.alpha < 1 or not mark.label or mark.dashed
            return [
                {**_named(mark), "mode": "lines", "x": digits(mark.x, 6), "y": digits(mark.y), "line": line,
                 "opacity": mark.alpha, **({"hoverinfo": "skip"} if thin else _hover(mark))}
            ]  # fmt: skip
        case Band():
            shared = {**_named(mark), "x": digits(mark.x, 6), "mode": "lines", "hoverinfo": "skip",
                      "line": {"width": 0, "shape": "hv"}}  # fmt: skip
            filled = {"fill": "tonexty", "fillcolor": faint(mark.colour, mark.alpha)}
            return [{**shared, "y": digits(mark.low)}, {**shared, "y": digits(mark.high), **filled}]
        case Bars():
            colour = _colour(mark.colour) if isinstance(mark.colour, str) else list(mark.colour)
            at, length = ("y", "x") if mark.flat else ("x", "y")
            trace = {**_named(mark), "type": "bar", at: digits(mark.at), length: digits(mark.length),
                     "width": digits(mark.thickness, 4)}  # fmt: skip
            trace["marker"] = {"color": colour, "opacity": mark.alpha}
            trace |= {"base": digits(mark.start)} if mark.start.any() else {}
            trace |= {"orientation": "h"} if mark.flat else {}
            return [trace | (_hover(mark) if mark.label or mark.hover else {"hoverinfo": "skip"})]
    return []


def _points(mark: Points, runs: Runs) -> dict[str, Any]:
    marker: dict[str, Any] = {"size": round(1.2 * PIXELS * method_size(mark.marker, mark.size), 1)}
    if mark.scale is None:
        marker |= {"color": _colour(mark.colour), "symbol": SYMBOLS[mark.marker], "opacity": mark.alpha}
    else:
        scale = mark.scale
        bar = {"title": {"text": _html(scale.label), "side": "right"}, "thickness": 12, "len": 0.9}
        marker |= {"color": digits(scale.values), "cmin": digits(scale.low), "cmax": digits(scale.high),
                   "colorscale": "Viridis", "reversescale": not scale.bright_high, "colorbar": bar}  # fmt: skip
    if mark.edge:
        marker["line"] = {"color": _colour(mark.edge), "width": round(0.12 * mark.size, 1)}
    trace = {**_named(mark), "mode": "markers", "marker": marker, **_hover(mark)}
    if mark.weights is None:
        trace |= {"x": digits(mark.x, 6), "y": digits(mark.y)}
    if mark.folders:
        trace["customdata"] = [runs[folder] for folder in mark.folders]
    if mark.ends is not None:
        centre, (low, high) = (mark.x if mark.along == "x" else mark.y), mark.ends
        trace[f"error_{mark.along}"] = {
            "type": "data", "symmetric": False, "array": digits(high - centre), "arrayminus": digits(centre - low),
            "color": _colour(mark.colour), "thickness": 1.6, "width": 4,
        }  # fmt: skip
    return trace


def _named(mark: Points | Line | Bars | Band) -> dict[str, Any]:
    name = escape(mark.label)
    return {"name": name, "legendgroup": name, "showlegend": getattr(mark, "legend", False)}


def _hover(mark: Points | Line | Bars) -> dict[str, Any]:
    said = getattr(mark, "hover", ())
    if said:
        return {"hovertemplate": "%{hovertext}<extra></extra>", "hovertext": [_html(words) for words in said]}
    return {"hovertemplate": f"{escape(mark.label)}: %{{y:.4g}}<extra></extra>"}


def _shape(mark: Rule, x: str, y: str) -> dict[str, Any]:
    across, along = ("x", "y") if mark.axis == "y" else ("y", "x")
    refs = {"x": x, "y": y}
    return {
        "type": "line", f"{across}ref": f"{refs[across]} domain", f"{along}ref": refs[along], f"{across}0": 0,
        f"{across}1": 1, f"{along}0": mark.at, f"{along}1": mark.at,
        "line": {"color": "--ink", "width": 1, "dash": "dash"},
    }  # fmt: skip


def _words(mark: Text, x: str, y: str) -> dict[str, Any]:
    words = _html(mark.text)
    return {
        "text": f"<b>{words}</b>" if mark.bold else words, "xref": x, "yref": y, "x": digits(mark.x),
        "y": digits(mark.y), "showarrow": False, "xanchor": mark.side, "yanchor": "middle",
        "xshift": mark.shift[0] * PIXELS, "yshift": mark.shift[1] * PIXELS, "textangle": -90 if mark.turned else 0,
        "font": {"color": _colour(mark.colour), "size": round(mark.size * PIXELS, 1)},
    }  # fmt: skip


def _pairs(chart: Chart) -> dict[str, Any]:
    """Every trace's weights, and the two that differ most to begin with."""
    points = [mark.weights for mark in chart.panels[0].marks if isinstance(mark, Points) and mark.weights is not None]
    spread = np.concatenate(points).std(axis=0)
    first, second = sorted(np.argsort(-spread, kind="stable")[:2].tolist())
    return {"names": list(chart.choose), "first": first, "second": second, "points": [digits(p, 4) for p in points]}


def _html(words: str) -> str:
    return escape(words).replace("\n", "<br>")


def _colour(name: str) -> str:
    return COLOURS.get(name, name)


def faint(colour: str, alpha: float) -> str:
    """`#RRGGBB` with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
