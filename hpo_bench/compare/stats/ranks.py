"""Average ranks over tasks: Friedman's test, Nemenyi's afterwards (Demšar 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_TASKS, MIN_METHODS = 5, 3


@dataclass(frozen=True)
class Ranking:
    """Ranks of M methods over N tasks; rank 1 is best.

    Attributes:
        average: (M,) average ranks, ties shared.
        p_friedman: that all methods rank alike; NaN with too few tasks or methods.
        p_nemenyi: (M, M) pairwise p-values, or None.
        sentence: what may be said, in words.
    """

    methods: tuple[str, ...]
    average: np.ndarray
    tasks: int
    p_friedman: float
    p_nemenyi: np.ndarray | None
    sentence: str


def rank_methods(scores: np.ndarray, methods: tuple[str, ...], higher_is_better: np.ndarray) -> Ranking:
    """Rank methods on every task and test whether they differ.

    Args:
        scores: (N, M) task x method; a task that lacks a method is left out.
        higher_is_better: (N,) bool.
    """
    scores = np.asarray(scores, dtype=float).reshape(-1, len(methods))
    complete = np.isfinite(scores).all(axis=1)
    signed = np.where(np.asarray(higher_is_better, dtype=bool)[:, None], -scores, scores)[complete]
    n, m = signed.shape
    average = stats.rankdata(signed, axis=1).mean(axis=0) if n else np.full(m, math.nan)
    if n < MIN_TASKS or m < MIN_METHODS:
        sentence = (
            f"{_count(n, 'task')} with all of {_count(m, 'method')} {'is' if n == 1 else 'are'} too few to test ranks: "
            f"Friedman and Nemenyi need {MIN_TASKS} tasks and {MIN_METHODS} methods; read the intervals per task."
        )
        return Ranking(methods, average, n, math.nan, None, sentence)
    tied = bool((signed == signed[:, :1]).all())  # everywhere: scipy would divide by zero
    p = 1.0 if tied else float(stats.friedmanchisquare(*signed.T).pvalue)
    pairwise = nemenyi(average, n)
    first = np.isclose(average, average.min())
    best = [method for method, leads in zip(methods, first, strict=True) if leads]
    alike = [methods[i] for i in range(m) if not first[i] and pairwise[int(np.argmin(average)), i] >= 0.05]
    has = "has" if len(best) == 1 else "have"
    sentence = (
        f"Over {n} tasks {' and '.join(best)} {has} the best average rank ({average.min():.2f} of {m}); "
        f"Friedman p = {p:.2g}."
    )
    if p >= 0.05:
        sentence += " The ranks of the methods cannot be told apart."
    elif alike:
        sentence += f" By Nemenyi's test it cannot be told from {', '.join(alike)}."
    return Ranking(methods, average, n, p, pairwise, sentence)


def nemenyi(average: np.ndarray, tasks: int) -> np.ndarray:
    """P-values (M, M) of pairs of methods, from average ranks (M,): studentised range, infinite df (Demšar 2006)."""
    m = len(average)
    z = np.abs(average[:, None] - average[None]) / math.sqrt(m * (m + 1) / (6 * tasks))
    return np.minimum(1.0, np.asarray(stats.studentized_range.sf(z * math.sqrt(2), m, np.inf)))


def critical_difference(methods: int, tasks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of average ranks: q(alpha, M) sqrt(M (M + 1) / (6 N))."""
    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(methods * (methods + 1) / (6 * tasks)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
