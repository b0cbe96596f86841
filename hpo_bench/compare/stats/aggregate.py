"""Over tasks: scores of different metrics on one scale, and intervals stratified by task.

The scale is the relative reduction of error against the reference, with the same seeds:

    gain = (error of reference - error of method) / error of reference

where the error is 1 - score for metrics whose best value is 1 (ROC-AUC, accuracy, F1, R², correlations) and the score
itself for metrics whose best value is 0 (RMSE, MAE). +5 % means: one twentieth of what was wrong is right now. The
reference's error is its mean on the task, so a gain is linear in the scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo_bench.compare.cohort import TaskRuns, aligned
from hpo_bench.compare.stats.intervals import Estimate, mean_of_means, pooled_iqm, share_interval, stratified_interval
from hpo_bench.compare.stats.paired import probability_of_improvement
from hpo_bench.compare.stats.ranks import Ranking, rank_methods
from hpo_bench.compare.style import method_order


@dataclass(frozen=True)
class Overall:
    """One method over the tasks that it shares with the reference; `mean` weighs tasks alike, `iqm` drops extremes.

    `improvement` is the probability that it beats the reference with the same seed, mean over tasks.
    """

    method: str
    tasks: int
    mean: Estimate
    iqm: Estimate
    improvement: Estimate
    average_rank: float


def relative_gain(scores: np.ndarray, reference: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Relative reduction of error (R, J) of `scores` against `reference`, both (R, J), cells paired."""
    scores, reference = np.asarray(scores, dtype=float), np.asarray(reference, dtype=float)
    paired = np.isfinite(scores) & np.isfinite(reference)
    if not paired.any():
        return np.full(scores.shape, np.nan)
    centre = reference[paired].mean()
    if higher_is_better:
        error = 1 - centre if max(scores[paired].max(), reference[paired].max()) <= 1 else abs(centre)
        difference = scores - reference
    else:
        error, difference = abs(centre), reference - scores
    return np.where(paired, difference / error, np.nan) if error > 0 else np.where(paired, 0.0, np.nan)


def overall(
    tasks: Sequence[TaskRuns], reference: str, rng: np.random.Generator
) -> tuple[list[Overall], Ranking | None]:
    """Every method over all tasks, and the ranking; nothing for fewer than two tasks, or methods in common."""
    if len(tasks) < 2:
        return [], None
    methods = method_order({label for task in tasks for label in task.methods})
    common = tuple(label for label in methods if sum(label in task.methods for task in tasks) > len(tasks) / 2)
    if len(common) < 2:
        return [], None  # tasks that were run with different methods: there is nothing to rank
    ranking = rank_methods(
        np.array([[mean_test(task, label) for label in common] for task in tasks]),
        common,
        np.array([task.higher_is_better for task in tasks]),
    )
    rank_of = dict(zip(common, ranking.average.tolist(), strict=True))
    rows = []
    for label in methods:
        strata = [gains for task in tasks if (gains := task_gains(task, label, reference)) is not None]
        nothing = Estimate(math.nan)
        mean = stratified_interval(strata, mean_of_means, rng) if strata else nothing
        middle = stratified_interval(strata, pooled_iqm, rng) if strata else nothing
        rows.append(Overall(label, len(strata), mean, middle, mean_improvement(strata), rank_of.get(label, math.nan)))
    return rows, ranking


def mean_improvement(strata: Sequence[np.ndarray]) -> Estimate:
    """Mean over tasks of the probability of improvement (Agarwal et al. 2021), from gains (R_s, J) per task.

    They draw every pair of runs; here runs with the same seed are paired, ties one half. The interval is Clopper &
    Pearson's with as many observations as have this mean's variance: T² / Σ 1/R_s, or T R for R repetitions each.
    """
    found = [probability_of_improvement(gains) for gains in strata]
    if not found or any(one.n < 2 for one in found):
        return Estimate(float(np.mean([one.value for one in found])) if found else math.nan)
    count = len(found) ** 2 / sum(1 / one.n for one in found)
    return share_interval(float(np.mean([one.value for one in found])) * count, count)


def task_gains(task: TaskRuns, label: str, reference: str) -> np.ndarray | None:
    """Gains (R, J) of a method on a task; None where it or the reference is missing or shares no seed."""
    if label not in task.methods or reference not in task.methods or label == reference:
        return None
    gains = relative_gain(*aligned(task.methods[label], task.methods[reference]), task.higher_is_better)
    whole = gains[np.isfinite(gains).any(axis=1)]
    return whole if len(whole) else None


def mean_test(task: TaskRuns, label: str) -> float:
    """Mean test score of all retrainings; NaN where there is none."""
    test = task.methods[label].test if label in task.methods else np.array([np.nan])
    return float(np.nanmean(test)) if np.isfinite(test).any() else math.nan
