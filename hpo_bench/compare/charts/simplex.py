"""Valid score at vertices, centre and edge midpoints of the simplex, against the centre with the same seed."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.forest import GREY, Entry, forest
from hpo_bench.compare.charts.marks import Chart
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.compare.style import metric_label, metric_name


def simplex_points(found: Simplex) -> Chart:
    """One line a point, the best on top: mean paired difference to the centre with its interval, seeds as dots."""
    sign = 1 if found.higher_is_better else -1
    gaps = [0.0 if point.versus is None else point.versus.difference.value for point in found.points]
    order = np.argsort(sign * np.nan_to_num(np.array(gaps), nan=-sign * np.inf), kind="stable")[::-1]
    entries = []
    for index in order:
        point = found.points[index]
        if point.versus is None:
            entries.append(Entry(point.name, Estimate(0.0), colour=GREY, marker="o"))
        else:
            entries.append(Entry(point.name, point.versus.difference, found.values[index] - found.values[0]))
    label = f"valid {metric_label(found.metric, found.higher_is_better)}, minus the centre's, same seed"
    return Chart(
        f"valid {metric_name(found.metric)} over the simplex, {len(found.seeds)} seeds",
        "Mark: mean, with its 95 % interval; dot: one seed.",
        [forest(entries, label)],
        found.task,
        (6.2, 1.2 + 0.22 * len(entries)),
    )
