"""Methods over tasks: a heat map of gains, and performance profiles."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.cells import cells
from hpo_bench.compare.charts.marks import Axis, Chart, Line, Mark, Panel, Points
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.aggregate import task_gains
from hpo_bench.compare.stats.intervals import Estimate, mean_interval
from hpo_bench.compare.stats.profiles import Profile
from hpo_bench.compare.style import in_lines, method_order, method_style, metric_name
from hpo_bench.compare.tables.table import score


def heat_map(tasks: list[TaskRuns], reference: str) -> Chart | None:
    """Colour: relative reduction of error; text: it and the test score; bold where the interval excludes 0."""
    methods = [m for m in method_order({label for task in tasks for label in task.methods}) if m != reference]
    gains = [[gain(task, label, reference) for task in tasks] for label in methods]
    values = np.array([[cell.value for cell in row] for row in gains], dtype=float).reshape(len(methods), len(tasks))
    if not np.isfinite(values).any():
        return None
    limit = max(0.02, float(np.nanmax(np.abs(values))))
    words = [["not run"] * len(tasks) for _ in methods]
    for i, j in np.argwhere(np.isfinite(values)):
        test = score(mean_interval(tasks[j].methods[methods[i]].test).value)
        words[i][j] = f"{100 * values[i, j]:+.1f} %\n{test}"
    sure = np.array([[cell.excludes(0) for cell in row] for row in gains])
    heads = [f"{task.label}\n{in_lines(metric_name(task.metric), 16)}" for task in tasks]
    named = [(float(place), head) for place, head in enumerate(heads)]
    across = Axis(ticks=named, limits=(-0.5, len(tasks) - 0.5), grid=False)
    return Chart(
        f"error taken away from {reference}, and test score",
        "First line: share of the reference's error that is gone, same seeds (orange: better). Second line: test "
        "score. Bold: the 95 % interval excludes 0.",
        [Panel(cells(values, limit, words, sure), across, Axis.of_names(methods), framed=False)],
        size=(1.4 + 1.15 * len(tasks), 1.5 + 0.55 * len(methods)),
    )


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
