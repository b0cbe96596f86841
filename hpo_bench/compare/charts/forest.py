"""Estimates below each other: name, mean with its interval, single seeds as dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Mark, Panel, Points, Rule
from hpo_bench.compare.stats.intervals import Estimate

BLUE, GREY = "#0072B2", "#5A5A5A"


@dataclass(frozen=True)
class Entry:
    """One line; `each` are the values behind the mean."""

    name: str
    mean: Estimate
    each: Sequence[float] = ()
    colour: str = BLUE
    marker: str = "D"


def forest(entries: Sequence[Entry], label: str, limits: tuple[float, float] | None = None, zero: bool = True) -> Panel:
    """The first entry on top; a dashed line at 0."""
    marks: list[Mark] = [Rule(0.0, "x")] if zero else []
    for place, entry in enumerate(entries):
        each = np.asarray(entry.each, dtype=float)
        if len(each):
            marks.append(Points(each, np.full(len(each), float(place)), entry.name, entry.colour, size=3.5, alpha=0.4,
                                hover=[f"{entry.name}, one seed: {value:.3g}" for value in each]))  # fmt: skip
        mean = entry.mean
        ends = (np.array([mean.low]), np.array([mean.high])) if mean.has_interval else None
        said = f" ({mean.low:.3g} to {mean.high:.3g})" if ends else ""
        marks.append(
            Points(np.array([mean.value]), np.array([float(place)]), entry.name, entry.colour, entry.marker, 5.0,
                   ends=ends, along="x", hover=[f"{entry.name}: {mean.value:.3g}{said}"])
        )  # fmt: skip
    names = [(float(place), entry.name) for place, entry in enumerate(entries)]
    y = Axis(ticks=names, limits=(-0.7, len(entries) - 0.3), reverse=True, grid=False)
    return Panel(marks, Axis(label, limits=limits), y)
