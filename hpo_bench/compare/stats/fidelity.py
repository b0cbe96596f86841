"""Does an estimator of the weights point where the weights matter? Learned weights against measured effects.

A landscape (`stats.simplex`) says what weights do: the effect of an objective is the mean score of the weightings,
weighted by its share, less the mean over all. An estimator is judged by the centred cosine of its weights to these
effects, and by the rank correlation of what its weights predict for all weightings with what they scored: the
counterfactual accuracy of Engstrom et al. 2025 (arXiv 2503.13751). Beside them stands brute force: what whole trials of
one seed know of the other seeds' effects. All weightings are the ceiling, no estimator of one seed can be expected to
know more; the vertices alone say what a trial of each objective is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from hpo_bench.compare.stats.intervals import Estimate, correlation_interval, mean_interval
from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.records.files import without_nan


@dataclass(frozen=True)
class Row:
    """One estimator: over its seeds the centred cosine, the rank correlation over all weightings, the cost in trials.

    `weights` (R, K) are those it learned. A run that stayed at the centre claims nothing: its cosine counts as 0, and
    `flat` counts such runs. `spread` is the largest standard deviation of one final weight over seeds. A run whose
    weights are all 0 trained nothing and has no direction: its cosine, rank correlation and spread are NaN.
    """

    name: str
    cosine: Estimate
    rank: Estimate
    trials: Estimate
    cosines: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    flat: int
    spread: float

    @property
    def has_direction(self) -> bool:
        return not math.isnan(self.cosine.value)


@dataclass(frozen=True)
class Brute:
    """What `trials` whole trials of one seed know: cosines of their effects to the mean effects of the other seeds."""

    name: str
    trials: int
    cosine: Estimate
    cosines: tuple[float, ...]


@dataclass(frozen=True)
class Fidelity:
    """Mean effects (K,) with the better direction positive, the ceiling, the vertices, and a row per estimator."""

    task: str
    metric: str
    objectives: tuple[str, ...]
    seeds: tuple[int, ...]
    effects: tuple[float, ...]
    ceiling: Brute
    vertices: Brute
    rows: tuple[Row, ...]

    @property
    def brute(self) -> tuple[Brute, Brute]:
        """The dearest first."""
        return self.ceiling, self.vertices

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return without_nan(asdict(self))


def centred_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors (K,) less their means; 0 where one has no direction."""
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(-1.0, min(1.0, float(a @ b) / lengths)) if lengths > 1e-12 else 0.0  # rounding takes it beyond


def effects(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(S, K) effects of objectives from weightings (P, K) and scores (P, S), more being better.

    A weighting without a score for every seed is left out.
    """
    whole = np.isfinite(scores).all(axis=1)
    weights, scores = weights[whole], scores[whole]
    centred = scores - scores.mean(axis=0)
    return (centred.T @ weights) / weights.sum(axis=0)


def fidelity(found: Simplex, learned: Sequence[tuple[str, np.ndarray, Sequence[float]]]) -> Fidelity:
    """Each estimator's name, weights (R, K) of R runs, and their costs in trials, against a landscape."""
    weights = np.array([point.weights for point in found.points])
    scores = found.values if found.higher_is_better else -found.values
    each = effects(weights, scores)
    mean = each.mean(axis=0)
    single = weights.max(axis=1) > 1 - 1e-9
    whole = np.isfinite(scores).all(axis=1)
    measured = scores[whole].mean(axis=1)
    rows = []
    for name, own, costs in learned:
        centre = 1 / own.shape[1]
        trained = (own != 0).any(axis=1)
        cosines = [centred_cosine(one, mean) if some else math.nan for one, some in zip(own, trained, strict=True)]
        flat = [bool(np.abs(one - centre).max() < 1e-9) for one in own]
        ranks = [0.0 if still else _rank(weights[whole] @ one, measured) for one, still in zip(own, flat, strict=True)]
        ranks = [rank if some else math.nan for rank, some in zip(ranks, trained, strict=True)]
        spread = float(own.std(axis=0, ddof=1).max()) if len(own) > 1 and trained.any() else math.nan
        rows.append(
            Row(
                name,
                correlation_interval(np.array(cosines)),
                correlation_interval(np.array(ranks)),
                mean_interval(np.array(costs)),
                tuple(cosines),
                tuple(tuple(one) for one in own.tolist()),
                sum(flat),
                spread,
            )
        )
    return Fidelity(
        found.task,
        found.metric,
        found.objectives,
        found.seeds,
        tuple(mean.tolist()),
        _brute("another seed's landscape", len(weights), each, each),
        _brute("another seed's vertices", int(single.sum()), effects(weights[single], scores[single]), each),
        tuple(rows),
    )


def _brute(name: str, trials: int, own: np.ndarray, effects: np.ndarray) -> Brute:
    """One seed's effects (S, K) by some trials against the mean of the other seeds' effects (S, K) by all."""
    others = [np.delete(effects, seed, axis=0).mean(axis=0) for seed in range(len(effects))] if len(effects) > 1 else []
    cosines = [centred_cosine(one, rest) for one, rest in zip(own, others, strict=bool(others))]
    return Brute(name, trials, correlation_interval(np.array(cosines)), tuple(cosines))


def _rank(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's; 0 where one of both is constant."""
    if np.ptp(predicted) < 1e-12 or np.ptp(measured) == 0:
        return 0.0
    return float(stats.spearmanr(predicted, measured).statistic)
