"""Critical-difference diagram: average ranks over tasks, bars join methods that cannot be told apart."""

from __future__ import annotations

from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.stats.ranks import Ranking, critical_difference
from hpo_bench.compare.style import method_style


def rank_diagram(ranking: Ranking | None) -> Figure | None:
    """None where there are too few tasks or methods to test (the ranking's sentence says so)."""
    if ranking is None or ranking.p_nemenyi is None:
        return None
    import pandas as pd
    import scikit_posthocs

    names = list(ranking.methods)
    figure = new_figure(7.0, 1.8 + 0.22 * len(names))
    axes = figure.add_subplot()
    axes.grid(visible=False)
    colours = {label: colour for label, (colour, _) in method_style(names).items()}
    drawn = scikit_posthocs.critical_difference_diagram(
        pd.Series(ranking.average, index=names),
        pd.DataFrame(ranking.p_nemenyi, index=names, columns=names),
        ax=axes,
        color_palette=colours,
        label_fmt_left="{label} ({rank:.2f})  ",
        label_fmt_right="  {label} ({rank:.2f})",
        crossbar_props={"color": "#333333", "linewidth": 3},
    )
    for (bar,) in drawn["crossbars"]:
        bar.set_xdata(sorted(bar.get_xdata()))  # their order comes from a set of names, another one in every process
    for text in axes.texts:
        text.set_color("#222222")  # a light colour is for a line, not for letters
    axes.set_xlim(0.9, len(names) + 0.1)
    axes.set_xticks(range(1, len(names) + 1))
    gap = critical_difference(len(names), ranking.tasks)
    axes.set_title(
        f"average rank over {ranking.tasks} tasks (1 is best)\n"
        f"critical difference {gap:.2f}; bars join what it cannot tell apart"
    )
    return figure
