"""Points of K weights in print: a panel for every pair of weights, all in one pair of axes.

With axes for each panel, those took most of the time of `compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.ticker import MaxNLocator

from hpo_bench.compare.charts.marks import FAINT, INK, Axis, Chart, Line, Mark, Panel, Points, Text

GAP = 0.2  # between panels, of a panel's side


def every_pair(chart: Chart) -> Chart:
    """The chart with its points (N, K) as K (K - 1) / 2 panels, the lower triangle of a matrix."""
    (panel,) = chart.panels
    assert panel.x.limits is not None
    low, high = panel.x.limits
    across = len(chart.choose) - 1
    pitch = (1 + GAP) * (high - low)  # from one panel to the next, in weight
    x = np.array([column for row in range(across) for column in range(row + 1)])
    y = np.array([row + 1 for row in range(across) for _ in range(row + 1)])
    corners = np.stack([x, across - y], axis=1) * pitch  # (P, 2): where each panel's weights 0, 0 lie

    def placed(mark: Mark) -> Mark:
        if not isinstance(mark, Points) or mark.weights is None:
            return mark
        points = (np.stack([mark.weights[:, x], mark.weights[:, y]], axis=-1) + corners).reshape(-1, 2)
        scale = replace(mark.scale, values=np.repeat(mark.scale.values, len(corners))) if mark.scale else None
        return replace(mark, x=points[:, 0], y=points[:, 1], scale=scale, weights=None, folders=(), hover=())

    ticks = np.asarray(MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high))
    ticks = ticks[(ticks >= 0) & (ticks <= high)]
    end = low + across * pitch - GAP * (high - low)
    shifts = np.arange(across) * pitch
    numbers = [(float(shift + tick), f"{tick:.4g}") for shift in shifts for tick in ticks]
    axis = Axis(ticks=numbers, limits=(low, end), grid=False)
    marks = [*_frames(corners, ticks, low, high), *_names(chart.choose, shifts + (low + high) / 2, low)]
    return replace(chart, panels=[Panel([*marks, *map(placed, panel.marks)], axis, axis, framed=False)], choose=())


def _frames(corners: np.ndarray, ticks: np.ndarray, low: float, high: float) -> list[Mark]:
    """Grid of every panel, the line beyond which two weights would sum to more than 1, and two of its sides."""
    from_, to = max(0.0, 1 - high), min(1.0, high)
    grid = [line for tick in ticks for line in ([(low, tick), (high, tick)], [(tick, low), (tick, high)])]
    whole = [[(from_, to), (to, from_)]] if from_ < to else []  # else it lies outside
    sides = [[(low, high), (low, low), (high, low)]]
    return [
        _lines(corners, lines, colour, width)
        for lines, colour, width in ((grid, "#E4E4E4", 0.6), (whole, FAINT, 0.7), (sides, INK, 0.8))
        if lines
    ]


def _lines(corners: np.ndarray, lines: Sequence[Sequence[tuple[float, float]]], colour: str, width: float) -> Line:
    broken = [[*corner + np.array(line), np.full(2, np.nan)] for corner in corners for line in lines]
    x, y = np.concatenate(broken).T
    return Line(x, y, colour=colour, width=width)


def _names(names: Sequence[str], middles: np.ndarray, low: float) -> list[Mark]:
    """Below the lowest panels and left of the leftmost ones."""
    below = [Text(x, low, name, size=9, shift=(0.0, -23.0)) for x, name in zip(middles, names, strict=False)]
    beside = [
        Text(low, y, name, size=9, shift=(-32.0, 0.0), turned=True)
        for y, name in zip(middles, reversed(names[1:]), strict=True)
    ]
    return [*below, *beside]
