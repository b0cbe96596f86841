"""Best valid score so far against the cost spent."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import PAPER, Axis, Band, Chart, Line, Mark, Panel, Points
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.costs import band, common_axis
from hpo_bench.compare.style import in_lines, method_style, metric_label, metric_name


def anytime(task: TaskRuns) -> Chart | None:
    """Median over repetitions and the band of their middle half, on one cost axis for all methods; None without any."""
    styles = method_style(task.methods)
    curves = {label: runs.curves() for label, runs in task.methods.items()}
    axis = common_axis([curve for some in curves.values() for curve in some])
    bands: list[Mark] = []
    lines: list[Mark] = []
    ends: list[Mark] = []
    for label, some in curves.items():
        colour, marker = styles[label]
        over = band(some, axis)
        finite = np.flatnonzero(np.isfinite(over.median))
        last_costs = [curve.cost[-1] for curve in some if len(curve.cost)]
        if not last_costs or not len(finite):
            continue
        last = min(max(int(np.searchsorted(axis, max(last_costs))), int(finite[0])), len(axis) - 1)
        shown = np.arange(finite[0], last + 1)
        table = np.stack([over.low, over.median, over.high])[:, shown]
        turns = np.flatnonzero(np.r_[True, (np.diff(table, axis=1) != 0).any(axis=0)])  # a step line needs no more
        keep = np.unique(np.r_[turns, len(shown) - 1])
        x, (low, median, high) = axis[shown][keep], table[:, keep]
        bands.append(Band(x, low, high, label, colour))
        lines.append(Line(x, median, label, colour, step=True))
        spread = low[-1:], high[-1:]
        ends.append(Points(x[-1:], median[-1:], label, colour, marker, 6.5, edge=PAPER, ends=spread, legend=True))
    if not ends:
        return None
    return Chart(
        f"best valid {metric_name(task.metric)} found so far",
        "Line: median of repetitions; band and bar: their middle half; mark: the search ends.",
        [
            Panel(
                [*bands, *lines, *ends],
                Axis("cost spent so far, step-equivalents", log=True),
                Axis(in_lines(f"best valid {metric_label(task.metric, task.higher_is_better)}")),
            )
        ],
        task.label,
    )
