"""Two methods on the same seeds: difference, tests, probability of improvement, correction for several comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hpo_bench.compare.stats.intervals import CONFIDENCE, Estimate, mean_interval, repetition_means, share_interval

EXACT_REPETITIONS = 14  # up to here all 2^R sign patterns are tried
SIGN_DRAWS = 20_000


@dataclass(frozen=True)
class PairedComparison:
    """What the paired seeds say about `scores - reference`.

    Attributes:
        difference: mean over repetitions, in units of the metric, with its interval.
        p_sign_flip: exact permutation test of no difference; NaN below two repetitions. With R repetitions it cannot
            fall below 2 / 2^R.
        p_wilcoxon: signed-rank test, same null hypothesis, ranks in place of sizes.
        improvement: probability that `scores` is better with the same seed.
    """

    difference: Estimate
    p_sign_flip: float
    p_wilcoxon: float
    improvement: Estimate


def compare_paired(
    scores: np.ndarray,
    reference: np.ndarray,
    rng: np.random.Generator,
    *,
    higher_is_better: bool = True,
    confidence: float = CONFIDENCE,
) -> PairedComparison:
    """Paired comparison of two arrays (R, J), repetition x retraining, that share the seed of every cell.

    A cell that is NaN in either array is left out of both.
    """
    difference = np.asarray(scores, dtype=float) - np.asarray(reference, dtype=float)
    means = repetition_means(difference)
    return PairedComparison(
        difference=mean_interval(difference, confidence),
        p_sign_flip=sign_flip_test(means, rng),
        p_wilcoxon=wilcoxon_test(means),
        improvement=probability_of_improvement(difference if higher_is_better else -difference, confidence),
    )


def sign_flip_test(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p-value of mean zero for paired differences (R,): the signs of whole repetitions are flipped.

    Exact up to 14 repetitions; beyond, 20,000 random patterns with the observed one among them.
    """
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    if n < 2:
        return math.nan
    if n <= EXACT_REPETITIONS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.concatenate([np.ones((1, n), dtype=int), rng.choice([-1, 1], size=(SIGN_DRAWS, n))])
    sums = np.abs(signs @ differences)
    observed = abs(differences.sum())
    return float(np.mean(sums >= observed - 1e-12 * max(1.0, float(np.abs(differences).sum()))))


def wilcoxon_test(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p-value for paired differences (R,); NaN below two non-zero ones."""
    differences = np.asarray(differences, dtype=float)
    nonzero = differences[differences != 0]
    if len(nonzero) < 2:
        return math.nan
    return float(stats.wilcoxon(nonzero, method="auto").pvalue)


def probability_of_improvement(gains: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Share of same-seed pairs with a positive gain, ties one half; `gains` (R, J), positive is better.

    The interval counts a repetition as one observation, since its retrainings share their weights.
    """
    gains = np.asarray(gains, dtype=float)
    wins = np.where(np.isfinite(gains), (gains > 0) + 0.5 * (gains == 0), np.nan)
    shares = repetition_means(wins)
    if len(shares) < 2:
        return Estimate(float(shares.mean()) if len(shares) else math.nan, n=len(shares))
    return share_interval(float(shares.sum()), len(shares), confidence)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values (M,) corrected for M comparisons (Holm 1979); NaN stays NaN and does not count."""
    p_values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(p_values))
    corrected = np.full(len(p_values), math.nan)
    order = known[np.argsort(p_values[known], kind="stable")]
    scaled = p_values[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else scaled
    return corrected
