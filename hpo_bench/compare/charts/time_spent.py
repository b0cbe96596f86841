"""Where the time of a search went."""

from __future__ import annotations

from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.summary import Row

PHASES = {
    "pretraining": "#4477AA",
    "adaptation": "#66CCEE",
    "hypergradient": "#EE6677",
    "evaluation": "#CCBB44",
    "orchestration": "#AA3377",
}


def time_spent(task: TaskRuns, rows: list[Row]) -> Figure:
    """Seconds by phase, and the same as shares, so that cheap methods can be read too."""
    figure = new_figure(8.4, 1.4 + 0.36 * len(rows))
    seconds, shares = figure.subplots(1, 2, sharey=True)
    left, left_share = [0.0] * len(rows), [0.0] * len(rows)
    totals = [sum(row.bill[f"seconds_{phase}"] for phase in PHASES) for row in rows]
    for phase, colour in PHASES.items():
        spent = [row.bill[f"seconds_{phase}"] for row in rows]
        if not any(spent):
            continue
        share = [100 * value / total if total else 0.0 for value, total in zip(spent, totals, strict=True)]
        seconds.barh(range(len(rows)), spent, left=left, color=colour, height=0.66, label=phase)
        shares.barh(range(len(rows)), share, left=left_share, color=colour, height=0.66)
        left = [a + b for a, b in zip(left, spent, strict=True)]
        left_share = [a + b for a, b in zip(left_share, share, strict=True)]
    for place, total in enumerate(totals):
        beside = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        seconds.annotate(f"{total:,.0f}", (total, place), **beside)
    seconds.set_yticks(range(len(rows)), [row.method for row in rows])
    seconds.invert_yaxis()
    seconds.margins(x=0.14)
    seconds.set_xlabel("seconds of the search, mean over repetitions")
    shares.set_xlabel("share of its own time, %")
    shares.set_xlim(0, 100)
    for axes in (seconds, shares):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    title = f"{task.label}: where the time of the search went"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    figure.legend(loc="outside right center")
    return figure
