"""How probable it is that a method is worse than the reference, practically equivalent, or better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Bars, Chart, Mark, Panel
from hpo_bench.compare.stats.equivalence import Equivalence, Region

PARTS = {"worse": "#542788", "equivalent": "#D2D2D2", "better": "#B35806"}  # as in the heat map


def equivalence(found: Sequence[Equivalence], region: Region, reference: str) -> Chart | None:
    """A bar of three parts per method, a panel per task; None without probabilities."""
    tasks: dict[str, list[Equivalence]] = {}
    for entry in found:
        if np.isfinite(entry.equivalent):
            tasks.setdefault(entry.task, []).append(entry)
    if not tasks:
        return None
    panels = []
    for task, entries in tasks.items():
        table = 100 * np.array([[getattr(entry, part) for part in PARTS] for entry in entries])  # (M, 3)
        start = np.cumsum(table, axis=1) - table
        at = np.arange(len(entries), dtype=float)
        marks: list[Mark] = [
            Bars(at, start[:, place], table[:, place], 0.7, part, colour, flat=True, legend=not panels,
                 hover=[f"{entry.method}: {part} with {value:.1f} %"
                        for entry, value in zip(entries, table[:, place], strict=True)])
            for place, (part, colour) in enumerate(PARTS.items())
        ]  # fmt: skip
        names = [(float(place), entry.method) for place, entry in enumerate(entries)]
        y = Axis(ticks=names, limits=(-0.6, len(entries) - 0.4), reverse=True, grid=False)
        panels.append(Panel(marks, Axis("probability, %", limits=(0.0, 100.0)), y, task))
    most = max(len(entries) for entries in tasks.values())
    return Chart(
        f"worse than {reference}, practically equivalent, or better",
        f"Equivalent: the mean difference lies within {region}; Bayesian paired t-test on the seeds that both have.",
        panels,
        size=(3.3, 1.2 + 0.26 * most),
        across=min(3, len(panels)),
    )
