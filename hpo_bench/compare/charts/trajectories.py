"""How the weights move during continued pretraining."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hpo_bench.compare.charts.save import new_figure
from hpo_bench.compare.cohort import MethodRuns, TaskRuns
from hpo_bench.compare.style import objective_colours

PANELS_A_ROW = 3


def trajectories(task: TaskRuns) -> Figure | None:
    """One panel per method whose weights change, thin lines repetitions, thick ones their mean; None if none does."""
    moving = {label: paths for label, runs in task.methods.items() if (paths := paths_of(runs))}
    if not moving:
        return None
    across = min(len(moving), PANELS_A_ROW)
    down = -(-len(moving) // across)
    figure = new_figure(max(6.4, 1.4 + 3.1 * across), 0.9 + 2.7 * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    colours = objective_colours(task.objectives)
    for panel in panels.ravel()[len(moving) :]:
        panel.set_visible(False)
    for panel, (label, paths) in zip(panels.ravel(), moving.items(), strict=False):
        end = max(task.steps, *(int(steps[-1]) for steps, _ in paths))
        axis = np.unique(np.concatenate([*(steps for steps, _ in paths), [end]]))
        faint = 0.4 if len(paths) <= 6 else 0.15
        every = np.stack([at_steps(axis, *path) for path in paths])  # (R, P, K)
        for index, name in enumerate(task.objectives):
            thin = np.pad(every[:, :, index], ((0, 0), (0, 1)), constant_values=np.nan).ravel()  # one line with gaps
            again = np.tile(np.append(axis, axis[-1]), len(every))
            panel.step(again, thin, where="post", color=colours[name], linewidth=0.6, alpha=faint)
            mean = every[:, :, index].mean(axis=0)
            panel.step(axis, mean, where="post", color=colours[name], label=name)
        panel.axhline(1 / len(task.objectives), color="#333333", linewidth=0.8, linestyle="--")
        panel.set_title(f"{label} ({len(paths)} repetition{'s' if len(paths) > 1 else ''})", fontweight="normal")
        panel.set_xlabel("pretraining step")
    panels[0, 0].set_ylim(bottom=0)  # last: the panels share the axis, and a limit set early would cut later ones
    for row in panels:
        row[0].set_ylabel("weight (sums to 1)")
    constant = [label for label in task.methods if label not in moving]
    said = f"; constant: {', '.join(constant)}" if constant else ""
    title = f"{task.label}: weights during pretraining{said}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    handles, names = panels[0, 0].get_legend_handles_labels()
    title = "thick: mean\nthin: one repetition\ndashed: equal"
    figure.legend(handles, names, loc="outside right center", title=title, title_fontsize=8)
    return figure


def paths_of(runs: MethodRuns) -> list[tuple[np.ndarray, np.ndarray]]:
    """Steps (S,) and weights (S, K) of every repetition; empty where no weights ever change."""
    paths = [runs.trajectory(index) for index in range(len(runs.seeds))]
    return paths if any(len(steps) > 1 for steps, _ in paths) else []


def at_steps(axis: np.ndarray, steps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights (P, K) in force at every step of `axis`; the first ones before the first record."""
    return weights[np.maximum(np.searchsorted(steps, axis, side="right") - 1, 0)]
