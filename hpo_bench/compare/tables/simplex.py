"""The points of the simplex as a table."""

from __future__ import annotations

from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.compare.style import metric_label
from hpo_bench.compare.tables.matrix import Matrix
from hpo_bench.compare.tables.table import plus_minus, signed


def simplex_table(found: Simplex) -> Matrix:
    """One line a point, the centre first, the others from best to worst; intervals are 95 % ones, point by point."""
    sign = -1 if found.higher_is_better else 1
    centre, *others = found.points
    rows = [
        (point.name, plus_minus(point.valid), signed(point.versus.difference) if point.versus else "")
        for point in [centre, *sorted(others, key=lambda point: sign * point.valid.value)]
    ]
    title = f"{found.task}: valid {metric_label(found.metric, found.higher_is_better)}, {len(found.seeds)} seeds"
    return Matrix(title, ("weights on", "valid", "minus centre"), rows)
