"""Average ranks over tasks with Nemenyi's critical difference (Demšar 2006)."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.forest import Entry, forest
from hpo_bench.compare.charts.marks import Chart
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.ranks import Ranking, critical_difference
from hpo_bench.compare.style import method_style


def average_ranks(ranking: Ranking | None) -> Chart | None:
    """Methods whose bars overlap cannot be told apart; None with too few tasks or methods (the sentence says so)."""
    if ranking is None or ranking.p_nemenyi is None:
        return None
    gap = critical_difference(len(ranking.methods), ranking.tasks)
    styles = method_style(ranking.methods)
    entries = []
    for place in np.argsort(ranking.average, kind="stable"):
        label, rank = ranking.methods[place], float(ranking.average[place])
        colour, marker = styles[label]
        bar = Estimate(rank, rank - gap / 2, rank + gap / 2)
        entries.append(Entry(f"{label} ({rank:.2f})", bar, colour=colour, marker=marker))
    return Chart(
        f"average rank over {ranking.tasks} tasks",
        f"1 is best. A bar is the critical difference ({gap:.2f}) long: methods whose bars overlap cannot be told "
        "apart (Nemenyi, 5 %).",
        [forest(entries, "average rank", zero=False)],
        size=(5.6, 1.2 + 0.3 * len(entries)),
    )
