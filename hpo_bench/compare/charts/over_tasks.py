"""Methods over tasks: a heat map of gains, and performance profiles."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Bars, Chart, Line, Mark, Panel, Points, Text
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.aggregate import task_gains
from hpo_bench.compare.stats.intervals import Estimate, mean_interval
from hpo_bench.compare.stats.profiles import Profile
from hpo_bench.compare.style import method_order, method_style, metric_name
from hpo_bench.compare.tables.table import score

WORSE, NOTHING, BETTER = (84, 39, 136), (247, 247, 247), (179, 88, 6)  # ends and middle of ColorBrewer's PuOr


def heat_map(tasks: list[TaskRuns], reference: str) -> Chart | None:
    """Colour: relative reduction of error; text: it and the test score; bold where the interval excludes 0."""
    methods = [m for m in method_order({label for task in tasks for label in task.methods}) if m != reference]
    gains = [[gain(task, label, reference) for task in tasks] for label in methods]
    values = np.array([[cell.value for cell in row] for row in gains], dtype=float).reshape(len(methods), len(tasks))
    if not np.isfinite(values).any():
        return None
    limit = max(0.02, float(np.nanmax(np.abs(values))))
    cells, colours, words = [], [], []
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            words.append(Text(j, i, "not run", size=7))
            continue
        test = score(mean_interval(tasks[j].methods[methods[i]].test).value)
        cells.append((j, i - 0.49))
        colours.append(shade(value / limit))
        ink = "#FFFFFF" if abs(value) > 0.6 * limit else "#222222"
        words.append(Text(j, i, f"{100 * value:+.1f} %\n{test}", colour=ink, size=7.5, bold=gains[i][j].excludes(0)))
    x, y = np.array(cells).T
    squares = Bars(x, y, np.full(len(x), 0.98), 0.98, colour=colours)
    named = [(float(place), f"{task.label}\n{metric_name(task.metric)}") for place, task in enumerate(tasks)]
    across = Axis(ticks=named, limits=(-0.5, len(tasks) - 0.5), grid=False)
    return Chart(
        f"error taken away from {reference}, and test score",
        "First line: share of the reference's error that is gone, same seeds (orange: better). Second line: test "
        "score. Bold: the 95 % interval excludes 0.",
        [Panel([squares, *words], across, Axis.of_names(methods), framed=False)],
        size=(1.4 + 1.15 * len(tasks), 1.5 + 0.55 * len(methods)),
    )


def shade(share: float) -> str:
    """Colour of a value between -1 (worse) and 1 (better)."""
    end = BETTER if share > 0 else WORSE
    mixed = [round(middle + min(1.0, abs(share)) * (own - middle)) for middle, own in zip(NOTHING, end, strict=True)]
    return "#" + "".join(f"{part:02X}" for part in mixed)


def gain(task: TaskRuns, label: str, reference: str) -> Estimate:
    """Mean share of the reference's error that a method takes away on a task, with its interval."""
    gains = task_gains(task, label, reference)
    return Estimate(np.nan) if gains is None else mean_interval(gains)


def performance_profile(found: Profile | None) -> Chart | None:
    """On what share of tasks a method's error is within a factor of the best, over the factor (Dolan & Moré 2002)."""
    if found is None:
        return None
    end = 1 + 1.05 * max(float(found.ratios[np.isfinite(found.ratios)].max()) - 1, 0.01)
    styles = method_style(found.methods)
    marks: list[Mark] = []
    for label, own in zip(found.methods, found.ratios.T, strict=True):
        colour, marker = styles[label]
        x = np.unique(np.r_[1.0, own[np.isfinite(own)]])
        y = np.array([100 * np.mean(own <= factor) for factor in x])
        marks.append(Line(np.r_[x, end], np.r_[y, y[-1]], label, colour, step=True))
        pairs = zip(x, y, strict=True)
        said = [
            f"{label}: {share:.0f} % of tasks within {100 * (by - 1):.2g} % of the best error" for by, share in pairs
        ]
        marks.append(Points(x, y, label, colour, marker, 5.0, legend=True, hover=said))
    x_axis = Axis("error divided by the best method's", limits=(1 - 0.02 * (end - 1), end))
    return Chart(
        f"performance profile over {len(found.ratios)} tasks",
        "Height: share of tasks on which the method's error is at most so many times the smallest error of any method. "
        "At the left: how often it is the best.",
        [Panel(marks, x_axis, Axis("share of tasks, %", limits=(-3.0, 103.0)))],
    )
