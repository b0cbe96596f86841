"""Does weighting matter here? The share of the score's variance that the choice of weights explains.

Only weightings that were scored with the same several seeds can answer: a block is a complete table of scores,
weighting x seed. Retrained scores give one block per repetition (methods x retraining seeds); weightings that several
repetitions tried (a lattice, the centre) give one more. In every block score = weighting + seed + rest, all random; the
blocks are pooled by their sums of squares. Interaction of weighting and seed is part of the rest: a weighting that is
good for one seed alone is no good weighting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo_bench.compare.stats.intervals import CONFIDENCE, Estimate

PERMUTATIONS = 5000
DRAWS = 5000


@dataclass(frozen=True)
class VarianceShare:
    """Shares of variance; `weights` has the interval, n is the number of scores. `p` tests that weights do nothing."""

    weights: Estimate
    seeds: float
    rest: float
    p: float
    weightings: int
    blocks: int


def variance_share(
    blocks: Sequence[np.ndarray],
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    permutations: int = PERMUTATIONS,
) -> VarianceShare | None:
    """Variance components of blocks (G_b weightings, S_b seeds), each complete; None if no block is at least 2 x 2.

    Point estimate by analysis of variance, negative components set to zero. Interval: generalised
    (Weerahandi 1993), which carries the uncertainty of all three mean squares. P-value: weightings are permuted within
    every seed.
    """
    blocks = [np.asarray(block, dtype=float) for block in blocks]
    blocks = [block for block in blocks if min(block.shape) > 1 and np.isfinite(block).all()]
    if not blocks:
        return None
    rows = sum(block.shape[0] - 1 for block in blocks)
    columns = sum(block.shape[1] - 1 for block in blocks)
    free = sum((block.shape[0] - 1) * (block.shape[1] - 1) for block in blocks)
    ms_weights = _between(blocks, 0) / rows
    ms_seeds = _between(blocks, 1) / columns
    ms_rest = sum(_rest(block) for block in blocks) / free
    seeds_per_row = sum(block.shape[1] * (block.shape[0] - 1) for block in blocks) / rows
    rows_per_seed = sum(block.shape[0] * (block.shape[1] - 1) for block in blocks) / columns
    var_weights = max(0.0, (ms_weights - ms_rest) / seeds_per_row)
    var_seeds = max(0.0, (ms_seeds - ms_rest) / rows_per_seed)
    total = var_weights + var_seeds + ms_rest
    count = sum(block.size for block in blocks)
    shape = sum(len(block) for block in blocks), len(blocks)
    if total <= 0:  # every score is the same
        return VarianceShare(Estimate(0.0, math.nan, math.nan, count), 0.0, 0.0, 1.0, *shape)
    # generalised interval: every mean square divided by a draw of chi-square / df stands for its expectation
    rest, weights, seeds = (
        mean_square * df / rng.chisquare(df, DRAWS)
        for mean_square, df in ((ms_rest, free), (ms_weights, rows), (ms_seeds, columns))
    )
    drawn_weights = np.maximum(0.0, weights - rest) / seeds_per_row
    drawn_seeds = np.maximum(0.0, seeds - rest) / rows_per_seed
    shares = drawn_weights / (drawn_weights + drawn_seeds + rest)
    low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2])
    share = Estimate(var_weights / total, float(low), float(high), count)
    p = _permutation_p(blocks, rng, permutations)
    return VarianceShare(share, var_seeds / total, ms_rest / total, p, *shape)


def _between(blocks: Sequence[np.ndarray], axis: int) -> float:
    """Pooled sum of squares between the rows (axis 0) or the columns (axis 1) of every block."""
    return float(
        sum(block.shape[1 - axis] * ((block.mean(axis=1 - axis) - block.mean()) ** 2).sum() for block in blocks)
    )


def _rest(block: np.ndarray) -> float:
    residual = block - block.mean(axis=1, keepdims=True) - block.mean(axis=0, keepdims=True) + block.mean()
    return float((residual**2).sum())


def _permutation_p(blocks: Sequence[np.ndarray], rng: np.random.Generator, permutations: int) -> float:
    observed = _between(blocks, 0)
    drawn = np.zeros(permutations)
    for block in blocks:
        many = np.broadcast_to(block, (permutations, *block.shape))
        shuffled = rng.permuted(many, axis=1)  # every seed's column on its own
        drawn += block.shape[1] * ((shuffled.mean(axis=2) - block.mean()) ** 2).sum(axis=1)
    return (1 + int((drawn >= observed * (1 - 1e-12)).sum())) / (permutations + 1)
