"""Scores as GLUE defines them: two of its tasks report two numbers, whose mean counts (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpo_bench.errors import unknown_name
from hpo_bench.tasks.base import Metric


def _known(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = ~np.isnan(labels).any(axis=1)
    return scores[rows], labels[rows]


def _classes(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true classes (N,): of one column a probability, of several the largest."""
    scores, labels = _known(scores, labels)
    if labels.shape[1] == 1:
        return (scores[:, 0] > 0.5).astype(int), labels[:, 0].astype(int)
    return scores.argmax(1), labels.argmax(1)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows that are classified right."""
    found, true = _classes(scores, labels)
    return float(np.mean(found == true)) if len(true) else float("nan")


def f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1; 0 where it is never predicted right."""
    from sklearn.metrics import f1_score

    found, true = _classes(scores, labels)
    return float(f1_score(true, found, zero_division=0.0)) if len(true) else float("nan")


def matthews(scores: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation; 0 where one class alone is predicted."""
    from sklearn.metrics import matthews_corrcoef

    found, true = _classes(scores, labels)
    return float(matthews_corrcoef(true, found)) if len(true) else float("nan")


def pearson(scores: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation; 0 where the scores are constant."""
    from scipy.stats import pearsonr

    scores, labels = _known(scores, labels)
    return float(pearsonr(scores[:, 0], labels[:, 0])[0]) if _varies(scores, labels) else 0.0


def spearman(scores: np.ndarray, labels: np.ndarray) -> float:
    """Spearman correlation; 0 where the scores are constant."""
    from scipy.stats import spearmanr

    scores, labels = _known(scores, labels)
    return float(spearmanr(scores[:, 0], labels[:, 0])[0]) if _varies(scores, labels) else 0.0


def _varies(scores: np.ndarray, labels: np.ndarray) -> bool:
    return len(labels) > 1 and bool(np.ptp(scores[:, 0]) > 0) and bool(np.ptp(labels[:, 0]) > 0)


def _mean(*parts: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda scores, labels: float(np.mean([part(scores, labels) for part in parts]))


METRICS: dict[str, Metric] = {
    name: Metric(name, higher_is_better=True, compute=compute)
    for name, compute in {
        "accuracy": accuracy,
        "accuracy_f1": _mean(accuracy, f1),
        "matthews": matthews,
        "pearson_spearman": _mean(pearson, spearman),
    }.items()
}


def metric_of(name: str) -> Metric:
    """The metric of that name; a UserError that lists them if there is none."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
