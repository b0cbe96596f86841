"""Performance profiles over tasks (Dolan & Moré 2002): on how many tasks is a method within a factor of the best?

A method's ratio on a task is its error by the smallest error of any method there; the error is that of `aggregate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.aggregate import mean_test
from hpo_bench.compare.style import method_order


@dataclass(frozen=True)
class Profile:
    """Ratios (N tasks, M methods) of error to the best; infinite where a method has no score on a task."""

    methods: tuple[str, ...]
    ratios: np.ndarray

    def within(self, factor: float) -> np.ndarray:
        """Share of tasks (M,) on which the error is at most `factor` times the best; rounding does not count."""
        return (self.ratios <= factor * (1 + 1e-12)).mean(axis=0)


def profile(errors: np.ndarray, methods: Sequence[str]) -> Profile | None:
    """From errors (N, M), NaN where a method was not run; None unless two tasks have two methods each.

    A task without any error, or whose best error is 0, has no ratio and is left out.
    """
    errors = np.asarray(errors, dtype=float).reshape(-1, len(methods))
    known = np.isfinite(errors)
    errors = errors[known.sum(axis=1) > 1]
    best = np.where(np.isfinite(errors), errors, np.inf).min(axis=1, initial=np.inf)
    errors, best = errors[best > 0], best[best > 0]
    if len(errors) < 2:
        return None
    return Profile(tuple(methods), np.where(np.isfinite(errors), errors / best[:, None], np.inf))


def task_profile(tasks: Sequence[TaskRuns]) -> Profile | None:
    """The profile of mean test errors of all methods on all tasks."""
    methods = method_order({label for task in tasks for label in task.methods})
    return profile(np.array([[_error(task, label) for label in methods] for task in tasks]), methods) if tasks else None


def _error(task: TaskRuns, label: str) -> float:
    """1 - score where the best score is 1, the score where it is 0; NaN for a score above 1 where higher is better."""
    score = mean_test(task, label)
    error = 1 - score if task.higher_is_better else score
    return error if error >= 0 else float("nan")
