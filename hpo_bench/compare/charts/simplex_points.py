"""Valid score at vertices, centre and edge midpoints of the simplex, against the centre with the same seed."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.compare.style import metric_label, metric_name


def simplex_points(found: Simplex) -> Figure:
    """One line a point, the best on top: mean paired difference to the centre with its interval, single seeds as dots.

    The centre stands at 0.
    """
    sign = 1 if found.higher_is_better else -1
    gaps = [0.0 if point.versus is None else point.versus.difference.value for point in found.points]
    order = np.argsort(sign * np.nan_to_num(np.array(gaps), nan=-sign * np.inf), kind="stable")
    figure = new_figure(6.8, 1.5 + 0.22 * len(order))
    axes = figure.add_subplot()
    for place, index in enumerate(order):
        point = found.points[index]
        differences = found.values[index] - found.values[0]
        axes.scatter(differences, np.full(len(differences), place), s=9, color="#0072B2", alpha=0.4, linewidths=0)
        if point.versus is None:
            axes.plot(0, place, "o", color="#5A5A5A", markersize=6)
            continue
        own = point.versus.difference
        half = own.half_width if own.has_interval else None
        axes.errorbar(own.value, place, xerr=half, fmt="D", color="#0072B2", markersize=4, linewidth=1, capsize=2)
    axes.axvline(0, color="#333333", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(order)), [found.points[index].name for index in order], fontsize=7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"valid {metric_label(found.metric, found.higher_is_better)}, minus the centre's, same seed")
    axes.set_title(f"{found.task}: valid {metric_name(found.metric)} over the simplex, {len(found.seeds)} seeds")
    return figure
