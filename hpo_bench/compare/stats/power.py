"""How small a difference can these seeds see, and how many seeds would see a smaller one?

Power of the two-sided paired t-test: the statistic of n differences with mean d and standard deviation s follows the
non-central t distribution with n - 1 degrees of freedom and non-centrality d sqrt(n) / s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from hpo_bench.compare.cohort import TaskRuns, aligned
from hpo_bench.compare.stats.intervals import repetition_means

ALPHA, POWER = 0.05, 0.8
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Power:
    """What a task's seeds can see of differences to the reference.

    Attributes:
        n: paired repetitions, of the method that has fewest.
        sd: standard deviation of a repetition's difference, typical of the methods: `typical_sd`.
        detectable: difference that a t-test finds with the usual power; NaN below two repetitions.
        largest: the largest mean difference seen, and `method` that has it.
        seeds: that would see a true difference of this size; None where more than 100,000.
    """

    n: int
    sd: float
    detectable: float
    method: str
    largest: float
    seeds: int | None


def power(difference: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Probability that a two-sided paired t-test on n repetitions finds a true mean difference."""
    if n < 2:
        return math.nan
    if sd == 0:
        return 1.0 if difference != 0 else alpha
    edge = stats.t.ppf(1 - alpha / 2, n - 1)
    shift = abs(difference) * math.sqrt(n) / sd
    below = float(np.nan_to_num(stats.nct.cdf(-edge, n - 1, shift)))  # far out scipy has no number for what is 0
    return float(stats.nct.sf(edge, n - 1, shift)) + below


def detectable(sd: float, n: int, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """The smallest true mean difference that n repetitions find with probability `wanted`; NaN below two."""
    if n < 2:
        return math.nan
    if sd == 0:
        return 0.0
    high = 1.0
    while power(high, 1.0, n, alpha) < wanted:
        high *= 2
    return sd * float(optimize.brentq(lambda d: power(d, 1.0, n, alpha) - wanted, 0.0, high, xtol=1e-10))


def seeds_needed(difference: float, sd: float, alpha: float = ALPHA, wanted: float = POWER) -> int | None:
    """The fewest repetitions that find a true mean difference with probability `wanted`; None above 100,000."""
    if difference == 0 or power(difference, sd, MOST_SEEDS, alpha) < wanted:
        return None
    low, high = 1, 2  # power grows with n
    while power(difference, sd, high, alpha) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, alpha) >= wanted else (middle, high)
    return high


def typical_sd(samples: Sequence[np.ndarray]) -> float:
    """Standard deviation of the method in the middle, from samples of two values or more.

    The median of the variances, each divided by the median of chi-square / df: no single method that came to grief
    decides, and the result is as often too small as too large.
    """
    scaled = [own.var(ddof=1) * (len(own) - 1) / stats.chi2.median(len(own) - 1) for own in samples]
    return math.sqrt(float(np.median(scaled)))


def seen_by(task: TaskRuns, reference: str) -> Power | None:
    """The power of a task's seeds; None where no method shares two of them with the reference."""
    base = task.methods.get(reference)
    if base is None:
        return None
    pairs = {label: aligned(runs, base) for label, runs in task.methods.items() if label != reference}
    means = {label: repetition_means(mine - theirs) for label, (mine, theirs) in pairs.items()}
    means = {label: own for label, own in means.items() if len(own) > 1}
    if not means:
        return None
    n = min(len(own) for own in means.values())
    sd = typical_sd(list(means.values()))
    method = max(means, key=lambda label: abs(means[label].mean()))
    largest = float(means[method].mean())
    return Power(n, sd, detectable(sd, n), method, largest, seeds_needed(largest, sd))
