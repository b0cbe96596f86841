"""Intervals that are honest for three to nine repetitions.

The unit of independence is the repetition: everything of one repetition (the search and its retrainings) shares its
random numbers, so the repetition's retrainings are averaged first and repetitions are what is resampled. Averaging
keeps both sources of variance: the mean over J retrainings of one repetition varies by (between) + (within) / J, which
is what the mean over repetitions needs.

With so few repetitions the percentile bootstrap and BCa cannot reach 95 % (three values have a hull that contains the
mean in 75 % of all cases, and no resample leaves the hull). So: bootstrap standard error from n - 1 draws out of n in
every stratum, which makes the variance unbiased (Rao & Wu 1988), times Student's quantile with as many degrees of
freedom as the data have. For a mean this is Student's interval, computed in closed form. docs/statistics.md has the
measured coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `low` and `high` are NaN where the data allow no interval. `n` is what it rests on."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Does the interval exist and leave `value` out?"""
        return self.has_interval and not self.low <= value <= self.high


def repetition_means(scores: np.ndarray) -> np.ndarray:
    """Means over the retrainings of each repetition: `scores` (R, J) or (R,), NaN where missing, to (R',) without gaps.

    Repetitions without any score are left out, so R' <= R.
    """
    scores = np.asarray(scores, dtype=float)
    scores = scores.reshape(len(scores), math.prod(scores.shape[1:]))
    counts = np.isfinite(scores).sum(axis=1)
    sums = np.where(np.isfinite(scores), scores, 0.0).sum(axis=1)
    return sums[counts > 0] / counts[counts > 0]


def mean_interval(scores: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Mean over repetitions with Student's interval over repetition means.

    Args:
        scores: (R, J) repetition x retraining, or (R,); NaN where missing.
    """
    means = repetition_means(scores)
    n = len(means)
    if n == 0:
        return Estimate(math.nan)
    centre = float(means.mean())
    if n == 1:
        return Estimate(centre, n=1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * means.std(ddof=1) / math.sqrt(n))
    return Estimate(centre, centre - half, centre + half, n)


def correlation_interval(values: np.ndarray) -> Estimate:
    """`mean_interval` of correlations (R,): it stays within ±1, and so does a value that rounding took beyond."""
    found = mean_interval(np.clip(values, -1.0, 1.0))
    if not found.has_interval:
        return found
    return Estimate(found.value, max(-1.0, found.low), min(1.0, found.high), found.n)


def iqm(scores: np.ndarray) -> float:
    """Interquartile mean: the mean of all finite scores without the lowest and the highest quarter."""
    values = np.asarray(scores, dtype=float).ravel()
    return float(stats.trim_mean(values[np.isfinite(values)], 0.25))


def pooled_iqm(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Interquartile mean over the scores of all strata together: arrays (B, R_s, J) to (B,)."""
    pooled = np.concatenate([stratum.reshape(len(stratum), -1) for stratum in strata], axis=1)
    if np.isfinite(pooled).all():
        return stats.trim_mean(pooled, 0.25, axis=1)
    return np.array([iqm(row) for row in pooled])


def mean_of_means(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over strata of the mean of each, so that every task counts the same: arrays (B, R_s, J) to (B,)."""
    return np.mean([np.nanmean(stratum.reshape(len(stratum), -1), axis=1) for stratum in strata], axis=0)


def stratified_interval(
    strata: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], np.ndarray],
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Stratified bootstrap: repetitions are drawn within each stratum (task), whole, with their retrainings.

    Args:
        strata: one array (R_s, J) or (R_s,) per task, repetition first.
        statistic: B numbers from such a list whose arrays have B resamples as their first axis.
    """
    arrays = [np.asarray(stratum, dtype=float) for stratum in strata]
    value = float(statistic([array[None] for array in arrays])[0])
    free = sum(len(array) - 1 for array in arrays)
    total = sum(len(array) for array in arrays)
    if free < 1 or any(len(array) < 2 for array in arrays):
        return Estimate(value, n=total)
    drawn = [array[rng.integers(0, len(array), (resamples, len(array) - 1))] for array in arrays]
    draws = statistic(drawn)
    half = float(stats.t.ppf((1 + confidence) / 2, free) * draws.std(ddof=1))
    return Estimate(value, value - half, value + half, total)


def share_interval(wins: float, n: float, confidence: float = CONFIDENCE) -> Estimate:
    """Interval of a share that rests on `n` independent observations (Clopper & Pearson 1934, never too short).

    `n` of a mean of shares is the number of observations with the same variance, and need not be whole.

    Args:
        wins: n times the observed share; need not be whole, because ties count one half and retrainings are averaged.
    """
    if n == 0:
        return Estimate(math.nan)
    tail = (1 - confidence) / 2
    low = 0.0 if wins <= 0 else float(stats.beta.ppf(tail, wins, n - wins + 1))
    high = 1.0 if wins >= n else float(stats.beta.ppf(1 - tail, wins + 1, n - wins))
    return Estimate(wins / n, low, high, round(n))
