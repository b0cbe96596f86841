"""Estimators side by side as a table."""

from __future__ import annotations

import math

import numpy as np

from hpo_bench.compare.stats.fidelity import Fidelity
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.tables.matrix import Matrix

NOTHING = "–"


def fidelity_table(found: Fidelity) -> Matrix:
    """Brute force first, then a line per estimator; intervals are 95 % ones over seeds."""
    rows = []
    for one in found.brute:
        worst = f"{min(one.cosines):+.2f}" if one.cosines else NOTHING
        name = f"ceiling: {one.name}" if one is found.ceiling else one.name
        rows.append((name, told(one.cosine), worst, "", "", "", str(one.trials)))
    for row in found.rows:
        spread = NOTHING if math.isnan(row.spread) else f"{row.spread:.2f}"
        flat = f"{row.flat} of {len(row.cosines)}" if row.has_direction else NOTHING
        worst = f"{np.nanmin(row.cosines):+.2f}" if row.has_direction else NOTHING
        rows.append((row.name, told(row.cosine), worst, told(row.rank), spread, flat, f"{row.trials.value:.1f}"))
    title = f"{found.task}: do learned weights point where weights matter? Landscape of {len(found.seeds)} seeds"
    columns = ("estimator", "centred cosine", "worst seed", "rank correlation", "spread", "flat", "trials")
    return Matrix(title, columns, rows)


def told(value: Estimate) -> str:
    """As text: `+0.81 (+0.62 to +1.00)`; `–` where there is no value."""
    if math.isnan(value.value):
        return NOTHING
    if not value.has_interval:
        return f"{value.value:+.2f}"
    return f"{value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"
