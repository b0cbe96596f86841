"""The points of the simplex on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.compare.style import metric_label
from hpo_bench.compare.tables.table import plus_minus, signed

if TYPE_CHECKING:
    from rich.table import Table


def simplex_table(found: Simplex) -> Table:
    """One line a point, the centre first, the others from best to worst; intervals are 95 % ones, point by point."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{found.task}: valid {metric_label(found.metric, found.higher_is_better)}, {len(found.seeds)} seeds"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(("weights on", "valid", "minus centre")):
        table.add_column(name, justify="left" if index == 0 else "right")
    sign = -1 if found.higher_is_better else 1
    centre, *others = found.points
    for point in [centre, *sorted(others, key=lambda point: sign * point.valid.value)]:
        versus = signed(point.versus.difference) if point.versus else ""
        table.add_row(point.name, plus_minus(point.valid), versus)
    return table
