"""Estimators side by side, on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpo_bench.compare.stats.fidelity import Fidelity
from hpo_bench.compare.stats.intervals import Estimate

if TYPE_CHECKING:
    from rich.table import Table


def fidelity_table(found: Fidelity) -> Table:
    """The ceiling first, then a line per estimator; intervals are 95 % ones over seeds."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{found.task}: do learned weights point where weights matter? Landscape of {len(found.seeds)} seeds"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    columns = ("estimator", "centred cosine", "worst seed", "rank correlation", "spread", "flat", "trials")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right")
    worst = f"{min(found.ceilings):+.2f}" if found.ceilings else ""
    trials = str(found.landscape_trials)
    table.add_row("ceiling: another seed's landscape", told(found.ceiling), worst, "", "", "", trials, style="bold")
    for row in found.rows:
        spread = "" if math.isnan(row.spread) else f"{row.spread:.2f}"
        flat = f"{row.flat} of {len(row.cosines)}"
        worst = f"{min(row.cosines):+.2f}"
        table.add_row(row.name, told(row.cosine), worst, told(row.rank), spread, flat, f"{row.trials.value:.1f}")
    return table


def told(value: Estimate) -> str:
    """`+0.81 (+0.62 to +1.00)`; a correlation's interval ends at ±1."""
    if math.isnan(value.value):
        return ""
    if not value.has_interval:
        return f"{value.value:+.2f}"
    return f"{value.value:+.2f} ({max(-1, value.low):+.2f} to {min(1, value.high):+.2f})"
