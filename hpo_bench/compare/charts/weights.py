"""Final weights of every method, with their spread over repetitions."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import INK, Axis, Bars, Chart, Mark, Panel, Points, Rule
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import method_style


def final_weights(task: TaskRuns) -> Chart:
    """One group of bars per objective, one bar per method (mean), a mark per repetition."""
    labels, objectives = list(task.methods), task.objectives
    styles = method_style(labels)
    width = 0.84 / len(labels)
    marks: list[Mark] = []
    for place, label in enumerate(labels):
        colour, marker = styles[label]
        own = task.methods[label]
        x = np.arange(len(objectives)) + (place - (len(labels) - 1) / 2) * width
        zero = np.zeros(len(objectives))
        marks.append(Bars(x, zero, own.weights.mean(axis=0), 0.9 * width, label, colour, alpha=0.55, legend=True))
        count = len(own.weights)
        shift = np.linspace(-0.25, 0.25, count) * width if count > 1 else np.zeros(1)
        spread = (x[None] + shift[:, None]).ravel()
        folders = [folder for folder in own.folders for _ in objectives]
        marks.append(
            Points(spread, own.weights.ravel(), label, colour, marker, 3.0, edge=INK, folders=folders, bar_width=0.4)
        )
    marks.append(Rule(1 / len(objectives)))
    names = [(float(place), name) for place, name in enumerate(objectives)]
    width_inches = max(5.0, 1.0 + 0.16 * len(labels) * len(objectives) + 0.25 * len(objectives))
    return Chart(
        "weights that each method ends with",
        "Bar: mean; mark: one repetition; dashed: equal weights.",
        [
            Panel(
                marks,
                Axis(ticks=names, limits=(-0.55, len(objectives) - 0.45), grid=False),
                Axis("weight (sums to 1)", from_zero=True),
            )
        ],
        task.label,
        (width_inches, 3.8),
    )
