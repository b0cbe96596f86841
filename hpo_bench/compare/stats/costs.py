"""Scores along the cost axis: best so far on a common axis, cost to reach a score, Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

NEAR_BEST = 0.99


@dataclass(frozen=True)
class Curve:
    """One run: after spending `cost[i]` the best valid score so far was `best[i]`; costs rise."""

    cost: np.ndarray  # (N,)
    best: np.ndarray  # (N,)

    def at(self, axis: np.ndarray) -> np.ndarray:
        """Best score at every cost of `axis` (P,); NaN before the first score, carried on after the last."""
        if not len(self.cost):
            return np.full(len(axis), np.nan)
        index = np.searchsorted(self.cost, axis, side="right") - 1
        return np.where(index >= 0, self.best[np.maximum(index, 0)], np.nan)


@dataclass(frozen=True)
class Band:
    """Several runs on one axis: median and quantiles of the best score so far; NaN until every run has a score."""

    cost: np.ndarray  # (P,)
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    runs: int


def best_so_far(cost: ArrayLike, value: ArrayLike, higher_is_better: bool) -> Curve:
    """Running best of trial values (N,) against cumulative cost (N,); trials without a value are left out."""
    cost, value = np.asarray(cost, dtype=float), np.asarray(value, dtype=float)
    keep = np.isfinite(value)
    order = np.argsort(cost[keep], kind="stable")
    running = np.maximum if higher_is_better else np.minimum
    return Curve(cost[keep][order], running.accumulate(value[keep][order]) if keep.any() else value[keep])


def common_axis(curves: Sequence[Curve], points: int = 200) -> np.ndarray:
    """A geometric cost axis (points,) from the first score of any run to the last of any run."""
    starts = [curve.cost[0] for curve in curves if len(curve.cost)]
    ends = [curve.cost[-1] for curve in curves if len(curve.cost)]
    if not starts:
        return np.zeros(0)
    first, last = max(min(starts), 1e-9), max(ends)
    axis = np.geomspace(first, max(last, first), points)
    axis[-1] = max(last, first)  # rounding must not lose the last score
    return axis


def band(curves: Sequence[Curve], axis: np.ndarray, quantiles: tuple[float, float] = (0.25, 0.75)) -> Band:
    """Median and quantile band over runs at every cost of `axis` (P,)."""
    values = np.stack([curve.at(axis) for curve in curves])
    started = np.isfinite(values).all(axis=0)
    low, median, high = (np.full(len(axis), np.nan) for _ in range(3))
    if started.any():
        low[started], median[started], high[started] = np.quantile(
            values[:, started], [quantiles[0], 0.5, quantiles[1]], axis=0
        )
    return Band(axis, low, median, high, len(curves))


def near_best(scores: Sequence[float], higher_is_better: bool, share: float = NEAR_BEST) -> float:
    """The score that counts as `share` of the best: best x share where higher is better, best / share where lower."""
    best = max(scores) if higher_is_better else min(scores)
    gap = abs(best) * (1 - share) if higher_is_better else abs(best) * (1 / share - 1)
    return best - gap if higher_is_better else best + gap


def cost_to_reach(curves: Sequence[Curve], target: float, higher_is_better: bool) -> tuple[float, int]:
    """Median cost over runs at which the target was first met, and how many runs met it.

    A run that never meets it counts as infinitely dear, so the median is finite only if more than half do.
    """
    costs = []
    for curve in curves:
        met = curve.best >= target if higher_is_better else curve.best <= target
        costs.append(float(curve.cost[np.argmax(met)]) if met.any() else math.inf)
    middle = sorted(costs)[len(costs) // 2] if costs else math.inf
    if costs and len(costs) % 2 == 0:
        middle = (sorted(costs)[len(costs) // 2 - 1] + middle) / 2
    return middle, sum(math.isfinite(cost) for cost in costs)


def pareto_front(cost: np.ndarray, score: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Mask (M,) of the entries that no other beats: none is at most as dear and at least as good, and better in one.

    An entry without a score (NaN) is not on it.
    """
    cost, gain = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    gain = gain if higher_is_better else -gain
    no_worse = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    return np.logical_not((no_worse & better).any(axis=1)) & np.isfinite(gain)
