"""A figure on disk: PNG to look at, SVG to print; the same figure twice gives the same bytes."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

DPI = 150


def new_figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """An empty figure in inches; not registered anywhere, so nothing stays in memory."""
    return Figure(figsize=(width, height), layout="constrained")


def log_cost_axis(axes: Axes) -> None:
    """A logarithmic cost axis whose labels are plain numbers (1,000, 2,000, 5,000) and never run into each other."""
    axes.set_xscale("log")
    axes.autoscale_view()
    low, high = axes.get_xlim()
    decades = math.log10(high / low) if low > 0 else 1.0
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.2 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend_columns(entries: int) -> int:
    """Columns of a legend beside a figure, so that it does not outgrow the figure's height."""
    return 1 + (entries - 1) // 14


def save(figure: Figure, path: Path) -> list[Path]:
    """Write `path`.png and `path`.svg, folders made as needed; returns both paths.

    Each file takes one drawing: `Figure.savefig` would lay out and draw everything once more before every file, which
    was most of the time of `compare`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    raster = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    raster.draw()  # lays out; the layout then holds for both files
    if figure.get_layout_engine() is not None:
        figure.set_layout_engine("none")
    png, svg = io.BytesIO(), io.BytesIO()
    few_colours(Image.fromarray(np.asarray(raster.buffer_rgba()))).save(png, format="png", dpi=(DPI, DPI))
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    written = []
    for kind, buffer in (("png", png), ("svg", svg)):
        target = path.with_name(f"{path.name}.{kind}")
        target.write_bytes(buffer.getvalue())
        written.append(target)
    return written


def few_colours(image: Image.Image) -> Image.Image:
    """The image in 256 colours: a third of the file, and sooner written; white stays white."""
    few = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = np.array(few.getpalette(), dtype=np.uint8).reshape(-1, 3)
    palette[(palette >= 253).all(axis=1)] = 255
    few.putpalette(palette.ravel().tolist())
    return few
