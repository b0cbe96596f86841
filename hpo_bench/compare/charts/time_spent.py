"""Where the time of a search went."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Bars, Chart, Mark, Panel, Text
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.summary import Row

PHASES = {
    "pretraining": "#4477AA",
    "adaptation": "#66CCEE",
    "hypergradient": "#EE6677",
    "evaluation": "#CCBB44",
    "orchestration": "#AA3377",
}


def time_spent(task: TaskRuns, rows: list[Row]) -> Chart:
    """Seconds by phase, and the same as shares, so that cheap methods can be read too."""
    table = np.array([[row.bill[f"seconds_{phase}"] for phase in PHASES] for row in rows])  # (M, phases)
    totals = table.sum(axis=1)
    shares = 100 * np.divide(table, totals[:, None], out=np.zeros_like(table), where=totals[:, None] > 0)
    at = np.arange(len(rows), dtype=float)
    panels = []
    for label, values, unit in (
        ("seconds, mean over repetitions", table, "s"),
        ("share of its own time, %", shares, "%"),
    ):
        start = np.cumsum(values, axis=1) - values
        marks: list[Mark] = [
            Bars(at, start[:, place], values[:, place], 0.66, phase, colour, flat=True, legend=unit == "s",
                 hover=[f"{row.method}, {phase}: {value:,.3g} {unit}"
                        for row, value in zip(rows, values[:, place], strict=True)])
            for place, (phase, colour) in enumerate(PHASES.items())
            if values[:, place].any()
        ]  # fmt: skip
        if unit == "s":
            marks += [
                Text(total, place, f"{total:,.0f}", "left", size=7, shift=(3, 0))
                for place, total in zip(at, totals, strict=True)
            ]
        limits = (0.0, 100.0) if unit == "%" else (0.0, 1.16 * float(totals.max()) or 1.0)
        names = [(float(place), row.method) for place, row in enumerate(rows)]
        y = Axis(ticks=names, limits=(-0.6, len(rows) - 0.4), reverse=True, grid=False)
        panels.append(Panel(marks, Axis(label, limits=limits), y))
    return Chart(
        "where the time of the search went",
        "Seconds of pretraining and the rest, and the same as shares of each method's own time.",
        panels,
        task.label,
        (3.4, 1.1 + 0.36 * len(rows)),
        across=2,
        share_y=True,
    )
