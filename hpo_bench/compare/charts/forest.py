"""Estimates below each other, mean with interval and single seeds as dots: average ranks, landscapes, fidelity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Chart, Mark, Panel, Points, Rule, dot
from hpo_bench.compare.stats.fidelity import Fidelity
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.ranks import Ranking, critical_difference
from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.compare.style import method_style, metric_label, metric_name

BLUE, GREY = "#0072B2", "#5A5A5A"
READ = "Mark: mean, with its 95 % interval; dot: one seed."


@dataclass(frozen=True)
class Entry:
    """One line; `each` are the values behind the mean."""

    name: str
    mean: Estimate
    each: Sequence[float] = ()
    colour: str = BLUE
    marker: str = "D"


def forest(entries: Sequence[Entry], label: str, limits: tuple[float, float] | None = None, zero: bool = True) -> Panel:
    """The first entry on top; a dashed line at 0."""
    marks: list[Mark] = [Rule(0.0, "x")] if zero else []
    for place, entry in enumerate(entries):
        said = [f"{entry.name}, one seed: {value:.3g}" for value in entry.each]
        y = np.full(len(said), float(place))
        marks.append(Points(np.array(entry.each), y, entry.name, entry.colour, size=3.5, alpha=0.4, hover=said))
        mean = entry.mean
        ends = f" ({mean.low:.3g} to {mean.high:.3g})" if mean.has_interval else ""
        words = f"{entry.name}: {mean.value:.3g}{ends}"
        marks.append(dot(mean, place, "x", words, label=entry.name, colour=entry.colour, marker=entry.marker, size=5.0))
    return Panel(marks, Axis(label, limits=limits), Axis.of_names([entry.name for entry in entries]))


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


def simplex_points(found: Simplex) -> Chart:
    """Valid score of every point of the simplex, the best on top, minus the centre's with the same seed."""
    sign = -1 if found.higher_is_better else 1
    gaps = np.array([0.0 if point.versus is None else sign * point.versus.difference.value for point in found.points])
    entries = []
    for index in np.argsort(np.nan_to_num(gaps, nan=np.inf), kind="stable"):
        point = found.points[index]
        if point.versus is None:
            entries.append(Entry(point.name, Estimate(0.0), colour=GREY, marker="o"))
        else:
            entries.append(Entry(point.name, point.versus.difference, found.values[index] - found.values[0]))
    label = f"valid {metric_label(found.metric, found.higher_is_better)}, minus the centre's, same seed"
    title = f"valid {metric_name(found.metric)} over the simplex, {len(found.seeds)} seeds"
    return Chart(title, READ, [forest(entries, label)], found.task, (6.2, 1.2 + 0.22 * len(entries)))


def fidelity_points(found: Fidelity) -> Chart:
    """Centred cosine of learned weights to measured effects: what brute force knows, then estimators that have one."""
    rows = sorted((row for row in found.rows if row.has_direction), key=lambda row: -row.cosine.value)
    entries = [Entry(f"{one.name}, {one.trials} trials", one.cosine, one.cosines, GREY) for one in found.brute]
    entries += [Entry(f"{row.name}, {row.trials.value:.1f} trials", row.cosine, row.cosines) for row in rows]
    panel = forest(entries, "centred cosine of learned weights to measured effects", (-1.05, 1.05))
    title = "do learned weights point where weights matter?"
    return Chart(title, READ, [panel], found.task, (6.8, 1.4 + 0.32 * len(entries)))
