"""Charts drawn by matplotlib: PNG to look at, SVG to print; the same chart twice gives the same bytes."""

from __future__ import annotations

import io
import math
import textwrap
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from hpo_bench.compare.charts.marks import (
    FAINT,
    INK,
    PAPER,
    Axis,
    Band,
    Bars,
    Chart,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Scale,
    Text,
    method_size,
)  # fmt: skip
from hpo_bench.compare.charts.pairs import every_pair
from hpo_bench.records.files import write_changed

DPI = 150
COLOURS = {INK: "#333333", PAPER: "white", FAINT: "#BBBBBB"}
LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "svg.hashsalt": "hpo_bench",  # the same figure twice is the same file
}


def save(chart: Chart, path: Path) -> list[Path]:
    """Write `path`.png and `path`.svg, folders made as needed; returns both paths.

    Each file takes one drawing: `Figure.savefig` would lay out and draw everything once more before every file, which
    was most of the time of `compare`. The user's own settings of matplotlib neither count nor change.
    """
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **LOOK, "backend": matplotlib.rcParams["backend"]}
    with matplotlib.rc_context(settings):
        figure = draw(chart)
        raster = FigureCanvasAgg(figure)
        figure.set_dpi(DPI)
        raster.draw()  # lays out; the layout then holds for both files
        figure.set_layout_engine("none")
        png, svg = io.BytesIO(), io.BytesIO()
        few_colours(Image.fromarray(np.asarray(raster.buffer_rgba()))).save(png, format="png", dpi=(DPI, DPI))
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    written = []
    for kind, buffer in (("png", png), ("svg", svg)):
        target = path.with_name(f"{path.name}.{kind}")
        written.append(write_changed(target, buffer.getvalue()))
    return written


def few_colours(image: Image.Image) -> Image.Image:
    """The image in 256 colours: a third of the file."""
    return image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def draw(chart: Chart) -> Figure:
    """The chart as a figure; it is not registered anywhere, so nothing stays in memory."""
    if chart.choose:
        chart = every_pair(chart)
    down = -(-len(chart.panels) // chart.across)
    width, height = chart.size[0] * chart.across + 1.5, chart.size[1] * down
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(down, chart.across, squeeze=False, sharey=chart.share_y).ravel()
    for axes in panels[len(chart.panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(panels, chart.panels, strict=False):
        _panel(axes, panel)
    for axes, panel in zip(panels, chart.panels, strict=False):
        if panel.y.from_zero:
            axes.set_ylim(bottom=0)  # last: panels may share the axis, and a limit set early would cut later ones
    title = f"{chart.subject}: {chart.title}" if chart.subject else chart.title
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    entries = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    legend = figure.legend(
        entries.values(), entries.keys(), loc="outside right center", title=textwrap.fill(chart.caption, 27),
        title_fontsize=8, alignment="left", ncols=1 + (len(entries) - 1) // 14 if entries else 1,
    )  # fmt: skip
    legend.get_title().set_color("#555555")
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    if panel.bare:
        axes.set_aspect("equal")
        axes.axis("off")
    if not panel.framed:
        axes.spines[:].set_visible(False)
    axes.set_title(panel.title)
    for order, mark in enumerate(panel.marks):
        _mark(axes, mark, 2 + order / 1000)
    _axis(axes, "x", panel.x)
    _axis(axes, "y", panel.y)


def _axis(axes: Axes, name: Literal["x", "y"], axis: Axis) -> None:
    own = axes.xaxis if name == "x" else axes.yaxis
    if axis.log:
        axes.set(**{f"{name}scale": "log"})
        axes.autoscale_view()
    if axis.limits is not None:
        axes.set(**{f"{name}lim": axis.limits[::-1] if axis.reverse else axis.limits})
    if axis.log:  # plain numbers (1,000, 2,000, 5,000) that never run into each other
        low, high = sorted(axes.get_xlim() if name == "x" else axes.get_ylim())
        own.set_major_locator(LogLocator(subs=(1, 2, 5) if low > 0 and math.log10(high / low) < 2.2 else (1,)))
        own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        own.set_minor_formatter(NullFormatter())
    if axis.ticks is not None:
        many = name == "y" and len(axis.ticks) > 12
        long = name == "x" and max((len(word) for _, word in axis.ticks), default=0) > 12
        turned = 20 if long and "\n" not in axis.ticks[0][1] else 0
        places, words = zip(*axis.ticks, strict=True)
        own.set_ticks(places, words, fontsize=7 if many else 8, rotation=turned)
        own.set_tick_params(length=0 if not axis.grid else 3)
    if not axis.grid:
        axes.grid(visible=False, axis=name)
    own.set_label_text(axis.label)


def _mark(axes: Axes, mark: Mark, order: float) -> None:
    look: dict[str, Any] = {"zorder": order}
    if isinstance(mark, Points | Line | Bars):
        look |= {"label": mark.label if mark.legend else "_", "alpha": mark.alpha}
        look |= {"color": _colour(mark.colour) if isinstance(mark.colour, str) else list(mark.colour)}
    match mark:
        case Points(scale=None):
            size, width = method_size(mark.marker, mark.size), 0.1 * mark.size if mark.edge else 0.0
            look |= {"markersize": size, "markeredgewidth": width, "markeredgecolor": _colour(mark.edge or mark.colour)}
            axes.plot(mark.x, mark.y, mark.marker, **look)
            if mark.ends is not None:
                centre = mark.x if mark.along == "x" else mark.y
                bar: dict[str, Any] = {f"{mark.along}err": np.stack([centre - mark.ends[0], mark.ends[1] - centre])}
                bar |= {"ecolor": look["color"], "elinewidth": mark.bar_width, "capsize": 2.5}
                axes.errorbar(mark.x, mark.y, fmt="none", zorder=order - 0.0005, **bar)
        case Points(scale=Scale() as scale):
            colours: dict[str, Any] = {"c": scale.values, "vmin": scale.low, "vmax": scale.high}
            colours |= {"cmap": "viridis" if scale.bright_high else "viridis_r", "zorder": order}
            dots = axes.scatter(mark.x, mark.y, s=mark.size**2, linewidths=0, rasterized=True, **colours)
            axes.figure.colorbar(dots, ax=axes, label=scale.label, shrink=0.7, pad=0.02)
        case Line():
            look |= {"linestyle": (0, (4, 2)) if mark.dashed else "-", "linewidth": mark.width}
            look |= {"drawstyle": "steps-post"} if mark.step else {}
            axes.plot(mark.x, mark.y, clip_on=bool(mark.label), **look)  # frames lie on the edge
        case Band():
            look |= {"color": mark.colour, "alpha": mark.alpha, "linewidth": 0}
            axes.fill_between(mark.x, mark.low, mark.high, step="post", **look)
        case Bars():
            if mark.flat:
                axes.barh(mark.at, mark.length, mark.thickness, left=mark.start, **look)
            else:
                axes.bar(mark.at, mark.length, mark.thickness, bottom=mark.start, **look)
        case Rule():
            line = axes.axhline if mark.axis == "y" else axes.axvline
            line(mark.at, color=COLOURS[INK], linewidth=0.8, linestyle="--", **look)
        case Text():
            look |= {"color": _colour(mark.colour), "fontsize": mark.size, "rotation": 90 if mark.turned else 0}
            look |= {"ha": mark.side, "va": "center", "fontweight": "bold" if mark.bold else "normal"}
            look |= {"textcoords": "offset points", "annotation_clip": False}
            axes.annotate(mark.text, (mark.x, mark.y), mark.shift, **look)


def _colour(name: str) -> str:
    return COLOURS.get(name, name)
