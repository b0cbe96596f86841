"""Which scores of a task can be set side by side to see what the weights do: blocks of weighting x seed."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hpo_bench.compare.cohort import TaskRuns

DIGITS = 6  # weights that agree to here are the same weighting


def retrained_blocks(task: TaskRuns, scores: str = "test") -> list[np.ndarray]:
    """One block per repetition: methods (distinct final schedules) x retraining seeds that all of them have."""
    blocks = []
    for seed in sorted({seed for runs in task.weightings.values() for seed in runs.seeds}):
        table: dict[str, dict[int, float]] = {}
        for runs in task.weightings.values():
            if seed not in runs.seeds:
                continue
            row = runs.seeds.index(seed)
            cells = zip(runs.retrain_seeds[row].tolist(), getattr(runs, scores)[row].tolist(), strict=True)
            schedule = runs.schedules[row] or [[0, runs.weights[row].tolist()]]
            table[str([(step, np.round(weights, DIGITS).tolist()) for step, weights in schedule])] = {
                own: value for own, value in cells if np.isfinite(value)
            }
        blocks += _complete(table)
    return blocks


def tried_blocks(task: TaskRuns) -> list[np.ndarray]:
    """At most one block: weightings that trials of every repetition scored x repetitions (valid scores)."""
    table: dict[str, dict[int, float]] = defaultdict(dict)
    repetitions: set[int] = set()
    for runs in task.methods.values():
        for repetition, seed in enumerate(runs.seeds):
            for trial in runs.constant_trials(repetition):
                repetitions.add(seed)
                table[str(np.round(trial["weights"], DIGITS).tolist())][seed] = float(trial["value"])
    everywhere = {weights: cells for weights, cells in table.items() if set(cells) == repetitions}
    return _complete(everywhere)


def _complete(table: dict[str, dict[int, float]]) -> list[np.ndarray]:
    if len(table) < 2:
        return []
    shared = sorted(set.intersection(*(set(cells) for cells in table.values())))
    block = np.array([[cells[seed] for seed in shared] for cells in table.values()])
    return [block] if block.ndim == 2 and min(block.shape) > 1 else []
