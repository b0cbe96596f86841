"""Stacked bars, one per method: where the time of a search went, and probabilities of practical equivalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Bars, Chart, Mark, Panel, Text
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.equivalence import Equivalence, Region
from hpo_bench.compare.stats.summary import Row

PHASES = {
    "pretraining": "#4477AA",
    "adaptation": "#66CCEE",
    "hypergradient": "#EE6677",
    "evaluation": "#CCBB44",
    "orchestration": "#AA3377",
}
SIDES = {"worse": "#542788", "equivalent": "#D2D2D2", "better": "#B35806"}  # as in the heat map


def time_spent(task: TaskRuns, rows: list[Row]) -> Chart:
    """Seconds by phase, and the same as shares, so that cheap methods can be read too."""
    table = np.array([[row.bill[f"seconds_{phase}"] for phase in PHASES] for row in rows])  # (M, phases)
    totals = table.sum(axis=1)
    shares = 100 * np.divide(table, totals[:, None], out=np.zeros_like(table), where=totals[:, None] > 0)
    names = [row.method for row in rows]
    sums = [Text(total, place, f"{total:,.0f}", "left", size=7, shift=(3, 0)) for place, total in enumerate(totals)]
    end = 1.16 * float(totals.max()) or 1.0
    panels = [
        _bars(names, table, PHASES, Axis("seconds of the search, mean over repetitions", limits=(0.0, end)), sums),
        _bars(names, shares, PHASES, Axis("share of its own time, %", limits=(0.0, 100.0))),
    ]
    caption = "Seconds, and the same as shares of each method's own time. Only seconds of one machine can be compared."
    size = (3.4, 1.1 + 0.36 * len(rows))
    return Chart("where the time of the search went", caption, panels, task.label, size, across=2, share_y=True)


def equivalence(found: Sequence[Equivalence], region: Region, reference: str) -> Chart | None:
    """Probability of being worse than the reference, equivalent, or better; a panel per task, None without any."""
    tasks: dict[str, list[Equivalence]] = {}
    for entry in found:
        if np.isfinite(entry.equivalent):
            tasks.setdefault(entry.task, []).append(entry)
    if not tasks:
        return None
    panels = []
    for task, entries in tasks.items():
        table = 100 * np.array([[getattr(entry, side) for side in SIDES] for entry in entries])  # (M, 3)
        axis = Axis("probability, %", limits=(0.0, 100.0))
        panels.append(_bars([entry.method for entry in entries], table, SIDES, axis, title=task))
    return Chart(
        f"worse than {reference}, practically equivalent, or better",
        f"Equivalent: the mean difference lies within {region}; Bayesian paired t-test on the seeds that both have.",
        panels,
        size=(3.3, 1.2 + 0.26 * max(map(len, tasks.values()))),
        across=min(3, len(panels)),
    )


def _bars(
    names: Sequence[str],
    table: np.ndarray,
    parts: Mapping[str, str],
    x: Axis,
    more: Sequence[Mark] = (),
    title: str = "",
) -> Panel:
    """A lying bar per name (M) whose parts are the columns of `table` (M, P)."""
    start, at = np.cumsum(table, axis=1) - table, np.arange(len(names), dtype=float)
    marks: list[Mark] = []
    for (part, colour), begin, own in zip(parts.items(), start.T, table.T, strict=True):
        said = [f"{name}, {part}: {value:,.3g}" for name, value in zip(names, own, strict=True)]
        if own.any():
            marks.append(Bars(at, begin, own, 0.68, part, colour, flat=True, legend=True, hover=said))
    return Panel([*marks, *more], x, Axis.of_names(names), title)
