"""Weights of every method: how they move during continued pretraining, and where they end."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.cells import cells
from hpo_bench.compare.charts.marks import INK, Axis, Bars, Chart, Line, Mark, Panel, Points, Rule
from hpo_bench.compare.cohort import MethodRuns, TaskRuns
from hpo_bench.compare.style import method_order, method_style, objective_colours

PANELS_A_ROW = 3
MOST_STEPS = 100  # of one line: a panel has hardly more pixels to show them
MOST_BARS = 8  # methods beside each other in a group; of more, nobody could tell the bars apart


def final_weights(task: TaskRuns) -> Chart | None:
    """Where weights end: bars by objective for a few methods, a table of coloured cells for more.

    None where no run pretrained.
    """
    if not task.weightings:
        return None
    return _as_bars(task) if len(task.weightings) <= MOST_BARS else _as_cells(task)


def _as_cells(task: TaskRuns) -> Chart:
    """A row per method, a column per objective; the colour is the mean less that of equal weights."""
    labels = method_order(task.weightings)
    objectives, equal = task.objectives, 1 / len(task.objectives)
    weights = [task.methods[label].weights for label in labels]
    means = np.array([own.mean(axis=0) for own in weights])
    words = [
        [
            f"{mean:.2f}" + (f" ± {spread:.2f}" if len(own) > 1 else "")
            for mean, spread in zip(own.mean(axis=0), own.std(axis=0, ddof=min(1, len(own) - 1)), strict=True)
        ]
        for own in weights
    ]
    limit = max(0.05, float(np.abs(means - equal).max()))
    across = Axis(
        ticks=[(float(place), name) for place, name in enumerate(objectives)],
        limits=(-0.5, len(objectives) - 0.5),
        grid=False,
    )
    return Chart(
        "weights that each method ends with",
        f"Mean ± standard deviation of repetitions. Orange: more than equal weights ({equal:.2f}), violet: less.",
        [Panel(cells(means - equal, limit, words), across, Axis.of_names(labels), framed=False)],
        task.label,
        (1.6 + 0.85 * len(objectives), 1.0 + 0.24 * len(labels)),
    )


def _as_bars(task: TaskRuns) -> Chart:
    """One group of bars per objective, one bar per method (mean), a mark per repetition."""
    labels, objectives = list(task.weightings), task.objectives
    styles = method_style(task.methods)
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
    x_axis = Axis.of_names(objectives, reverse=False)
    width_inches = max(5.0, 1.0 + 0.16 * len(labels) * len(objectives) + 0.25 * len(objectives))
    return Chart(
        "weights that each method ends with",
        "Bar: mean; mark: one repetition; dashed: equal weights.",
        [Panel(marks, x_axis, Axis("weight (sums to 1)", from_zero=True))],
        task.label,
        (width_inches, 3.8),
    )


def trajectories(task: TaskRuns) -> Chart | None:
    """One panel per method whose weights change, thin lines repetitions, thick ones their mean; None if none does."""
    moving = {label: paths for label, runs in task.methods.items() if (paths := paths_of(runs))}
    if not moving:
        return None
    colours = objective_colours(task.objectives)
    panels: list[Panel] = []
    for label, paths in moving.items():
        end = max(task.steps, *(int(steps[-1]) for steps, _ in paths))
        axis = np.unique(np.concatenate([*(steps for steps, _ in paths), [end]]))
        axis = axis[np.unique(np.linspace(0, len(axis) - 1, min(len(axis), MOST_STEPS)).round().astype(int))]
        every = np.stack([at_steps(axis, *path) for path in paths])  # (R, P, K)
        thin: list[Mark] = []
        thick: list[Mark] = []
        for index, name in enumerate(task.objectives):
            if len(paths) > 1:
                y = np.pad(every[:, :, index], ((0, 0), (0, 1)), constant_values=np.nan).ravel()  # one line with gaps
                x = np.tile(np.append(axis, axis[-1]), len(every))
                faint = 0.4 if len(paths) <= 6 else 0.15
                thin.append(Line(x, y, name, colours[name], 0.6, faint, step=True))
            mean = every[:, :, index].mean(axis=0)
            thick.append(Line(axis, mean, name, colours[name], step=True, legend=not panels))
        level = Rule(1 / len(task.objectives))
        count = f"{len(paths)} repetition{'s' if len(paths) > 1 else ''}"
        y_axis = Axis("weight (sums to 1)" if len(panels) % PANELS_A_ROW == 0 else "", from_zero=True)
        panels.append(Panel([*thin, level, *thick], Axis("pretraining step"), y_axis, f"{label} ({count})"))
    constant = [label for label in task.methods if label not in moving]
    said = f" Constant: {', '.join(constant)}." if constant else ""
    return Chart(
        "weights during pretraining",
        f"Thick: mean; thin: one repetition; dashed: equal weights.{said}",
        panels,
        task.label,
        (3.1, 2.7),
        min(len(panels), PANELS_A_ROW),
        share_y=True,
    )


def paths_of(runs: MethodRuns) -> list[tuple[np.ndarray, np.ndarray]]:
    """Steps (S,) and weights (S, K) of every repetition; empty where no weights ever change."""
    paths = [runs.trajectory(index) for index in range(len(runs.seeds))]
    return paths if any(len(steps) > 1 for steps, _ in paths) else []


def at_steps(axis: np.ndarray, steps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights (P, K) in force at every step of `axis`; the first ones before the first record."""
    return weights[np.maximum(np.searchsorted(steps, axis, side="right") - 1, 0)]
