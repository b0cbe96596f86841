"""Centred cosine of learned weights to measured effects, estimator by estimator, under the landscape's own ceiling."""

from __future__ import annotations

from hpo_bench.compare.charts.forest import GREY, Entry, forest
from hpo_bench.compare.charts.marks import Chart
from hpo_bench.compare.stats.fidelity import Fidelity


def fidelity_points(found: Fidelity) -> Chart:
    """The ceiling, then a line per estimator, the best first: mean with its interval, seeds as dots, its cost."""
    rows = sorted(found.rows, key=lambda row: -row.cosine.value)
    ceiling = f"another seed's landscape, {found.landscape_trials} trials"
    entries = [Entry(ceiling, found.ceiling, found.ceilings, GREY)]
    entries += [Entry(f"{row.name}, {row.trials.value:.1f} trials", row.cosine, row.cosines) for row in rows]
    label = "centred cosine of learned weights to measured effects"
    return Chart(
        "do learned weights point where weights matter?",
        "Mark: mean, with its 95 % interval; dot: one seed; grey: the landscape itself.",
        [forest(entries, label, (-1.05, 1.05))],
        found.task,
        (6.8, 1.4 + 0.32 * len(entries)),
    )
