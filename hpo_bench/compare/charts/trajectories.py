"""How the weights move during continued pretraining."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Chart, Line, Mark, Panel, Rule
from hpo_bench.compare.cohort import MethodRuns, TaskRuns
from hpo_bench.compare.style import objective_colours

PANELS_A_ROW = 3
MOST_STEPS = 100  # of one line: a panel has hardly more pixels to show them


def trajectories(task: TaskRuns) -> Chart | None:
    """One panel per method whose weights change, thin lines repetitions, thick ones their mean; None if none does."""
    moving = {label: paths for label, runs in task.methods.items() if (paths := paths_of(runs))}
    if not moving:
        return None
    colours = objective_colours(task.objectives)
    panels = []
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
