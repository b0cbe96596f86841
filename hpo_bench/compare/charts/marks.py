"""A figure described once: marks in panels, without any library that draws.

`charts.printed` draws a description with matplotlib, `report.on_page` writes it as plotly's JSON. Sizes are in points,
positions in data coordinates; a colour is `#RRGGBB` or one of those below, which follow light and dark on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo_bench.compare.stats.intervals import Estimate

INK, PAPER, FAINT = "ink", "page", "line"


@dataclass(frozen=True)
class Scale:
    """Colour by value: values (N,), the ends of the colours, which end is bright, and what the bar beside it says."""

    values: np.ndarray
    low: float
    high: float
    bright_high: bool
    label: str


@dataclass(frozen=True)
class Points:
    """Marks at x, y, (N,) each; where the reader chooses two of K weights `weights` (N, K) stands in their place.

    Attributes:
        ends: low and high end (N,) of a bar through every mark, along `along`.
        folders: the run behind every mark.
        hover: text of every mark on a page; by default its label and value.
    """

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    colour: str = INK
    marker: str = "o"
    size: float = 6.0
    alpha: float = 1.0
    edge: str | None = None
    ends: tuple[np.ndarray, np.ndarray] | None = None
    along: str = "y"
    bar_width: float = 1.2
    legend: bool = False
    folders: Sequence[str] = ()
    hover: Sequence[str] = ()
    scale: Scale | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Line:
    """A line through x, y (N,), broken where y is NaN; `step`: y holds until the next x."""

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    colour: str = INK
    width: float = 1.6
    alpha: float = 1.0
    dashed: bool = False
    step: bool = False
    legend: bool = False


@dataclass(frozen=True)
class Band:
    """The area between low and high (N,), as steps."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    label: str
    colour: str
    alpha: float = 0.12


@dataclass(frozen=True)
class Bars:
    """Bars at `at` (N,) from `start` (N,), `length` (N,) long; `flat` ones lie. One colour, or one each."""

    at: np.ndarray
    start: np.ndarray
    length: np.ndarray
    thickness: float
    label: str = ""
    colour: str | Sequence[str] = INK
    alpha: float = 1.0
    flat: bool = False
    legend: bool = False
    hover: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """A dashed line across the panel, at `at` of the y axis (or of the x axis)."""

    at: float
    axis: str = "y"


@dataclass(frozen=True)
class Text:
    """Words at x, y; `side` says which end of them stands there, `shift` moves them by points."""

    x: float
    y: float
    text: str
    side: str = "center"
    colour: str = INK
    size: float = 8.0
    bold: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    turned: bool = False


Mark = Points | Line | Band | Bars | Rule | Text


@dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        log: logarithmic, with plain numbers.
        limits: its ends; a y axis may begin at 0 (`from_zero`).
        ticks: places and their words.
    """

    label: str = ""
    log: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    limits: tuple[float, float] | None = None
    from_zero: bool = False
    reverse: bool = False
    grid: bool = True

    @classmethod
    def of_names(cls, names: Sequence[str], reverse: bool = True) -> Axis:
        """Names at 0, 1, …; on a y axis the first is on top."""
        ticks = [(float(place), name) for place, name in enumerate(names)]
        return cls(ticks=ticks, limits=(-0.6, len(names) - 0.4), reverse=reverse, grid=False)


@dataclass(frozen=True)
class Panel:
    """Marks on two axes, the later ones on top. `bare`: no axes, and both of one scale; `framed`: axes have lines."""

    marks: Sequence[Mark]
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    title: str = ""
    bare: bool = False
    framed: bool = True


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        subject: what it is about, a task's label; a page has it as the heading of the section.
        caption: how to read it.
        size: of one panel in inches, with its words, without the legend.
        across: panels in one row; a page sets more than two below each other.
        choose: names of the weights where the reader chooses two of them; print shows every pair.
    """

    title: str
    caption: str
    panels: Sequence[Panel]
    subject: str = ""
    size: tuple[float, float] = (5.6, 4.2)
    across: int = 1
    share_y: bool = False
    choose: Sequence[str] = ()


def dot(mean: Estimate, at: float, along: str, said: str, **look: Any) -> Points:
    """A mean with its interval, along the x or the y axis, `at` the other one."""
    value, other = np.array([mean.value]), np.array([float(at)])
    x, y = (value, other) if along == "x" else (other, value)
    ends = (np.array([mean.low]), np.array([mean.high])) if mean.has_interval else None
    return Points(x, y, ends=ends, along=along, hover=[said], **look)


def method_size(marker: str, size: float) -> float:
    """A star looks smaller than other marks of its size."""
    return 1.5 * size if marker == "*" else size
