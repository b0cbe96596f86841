"""Centred cosine of learned weights to measured effects, estimator by estimator, under the landscape's own ceiling."""

from __future__ import annotations

from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.stats.fidelity import Fidelity


def fidelity_points(found: Fidelity) -> Figure:
    """One line an estimator, the best on top: mean with its interval, single seeds as dots, the cost at the right."""
    rows = sorted(found.rows, key=lambda row: row.cosine.value)
    figure = new_figure(6.8, 1.6 + 0.32 * (len(rows) + 1))
    axes = figure.add_subplot()
    lines = [(row.name, row.cosine, row.cosines, f"{row.trials.value:.1f} trials") for row in rows]
    lines.append(("another seed's landscape", found.ceiling, found.ceilings, f"{found.landscape_trials} trials"))
    for place, (_, mean, each, cost) in enumerate(lines):
        colour = "#5A5A5A" if place == len(rows) else "#0072B2"
        axes.scatter(each, [place] * len(each), s=12, color=colour, alpha=0.4, linewidths=0)
        half = mean.half_width if mean.has_interval else None
        axes.errorbar(mean.value, place, xerr=half, fmt="D", color=colour, markersize=4, linewidth=1, capsize=2)
        axes.annotate(
            cost,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.axvline(0, color="#333333", linewidth=0.8, linestyle="--")
    axes.set_xlim(-1.05, 1.05)
    axes.set_yticks(range(len(lines)), [line[0] for line in lines], fontsize=7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("centred cosine of learned weights to measured effects, seeds as dots")
    axes.set_title(f"{found.task}: do learned weights point where weights matter?")
    return figure
