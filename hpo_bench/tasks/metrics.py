"""Scores of a split by name: as MoleculeNet defines them (the mean over a split's labels), and as GLUE does.

Missing labels are left out. Two of GLUE's tasks report two numbers, whose mean counts (Wang et al. 2019).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from hpo_bench.errors import Doubt, unknown_name
from hpo_bench.tasks.base import Metric


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean ROC-AUC of the columns of scores (N, L) whose labels (N, L) have both classes; NaN if none has."""
    from sklearn.metrics import roc_auc_score

    values = []
    for score, label in zip(scores.T, labels.T, strict=True):
        known = ~np.isnan(label)
        if len(np.unique(label[known])) == 2:
            values.append(roc_auc_score(label[known], score[known]))
    return float(np.mean(values)) if values else float("nan")


def rmse(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over columns of the root mean squared error; columns without a label are left out."""
    return _mean_over_columns(scores, labels, _root_mean_square)


def mae(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over columns of the mean absolute error; columns without a label are left out."""
    return _mean_over_columns(scores, labels, lambda error: float(np.mean(np.abs(error))))


def _root_mean_square(error: np.ndarray) -> float:
    """Of the errors over the largest one, so that no square overflows or vanishes."""
    size = float(np.abs(error).max()) or 1.0
    return size * float(np.sqrt(np.mean((error / size) ** 2)))


def _mean_over_columns(scores: np.ndarray, labels: np.ndarray, score: Callable[[np.ndarray], float]) -> float:
    errors = (column[~np.isnan(column)] for column in (scores - labels).T.astype(np.float64))
    values = [score(error) for error in errors if len(error)]
    return float(np.mean(values)) if values else float("nan")


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
    """F1 of class 1; 0 where it is never predicted right, NaN where no row is of it and none is predicted."""
    from sklearn.metrics import f1_score

    found, true = _classes(scores, labels)
    return float(f1_score(true, found, zero_division=np.nan)) if len(true) else float("nan")


def matthews(scores: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation; NaN where all labels are alike, 0 with a warning where all answers are."""
    from sklearn.metrics import matthews_corrcoef

    found, true = _classes(scores, labels)
    if _constant(true):
        return float("nan")
    if _constant(found):
        return _no_correlation("Matthews", "the model answers one class alone")
    return float(matthews_corrcoef(true, found))


def pearson(scores: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation; NaN where the labels are constant, 0 with a warning where the scores are."""
    from scipy.stats import pearsonr

    return _correlation("Pearson", pearsonr, scores, labels)


def spearman(scores: np.ndarray, labels: np.ndarray) -> float:
    """Spearman correlation; NaN where the labels are constant, 0 with a warning where the scores are."""
    from scipy.stats import spearmanr

    return _correlation("Spearman", spearmanr, scores, labels)


def _correlation(name: str, correlate: Callable[..., Any], scores: np.ndarray, labels: np.ndarray) -> float:
    scores, labels = (column[:, 0] for column in _known(scores, labels))
    if _constant(labels):
        return float("nan")
    if _constant(scores):
        return _no_correlation(name, "the model answers one value for every row")
    # Over the largest one: a sum of squares of tiny or huge labels would vanish or overflow.
    return float(correlate(scores / np.abs(scores).max(), labels / np.abs(labels).max())[0])


def _constant(values: np.ndarray) -> bool:
    return len(values) < 2 or bool(np.ptp(values) == 0)


def _no_correlation(name: str, why: str) -> float:
    """0, said aloud: such an answer is worth nothing, but strictly the correlation is undefined."""
    warnings.warn(f"the {name} correlation is undefined ({why}); counted as 0", Doubt, stacklevel=4)
    return 0.0


def _mean(*parts: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda scores, labels: float(np.mean([part(scores, labels) for part in parts]))


METRICS: dict[str, Metric] = {
    name: Metric(name, higher_is_better=better, compute=compute)
    for name, better, compute in (
        ("roc_auc", True, roc_auc),
        ("rmse", False, rmse),
        ("mae", False, mae),
        ("accuracy", True, accuracy),
        ("accuracy_f1", True, _mean(accuracy, f1)),
        ("matthews", True, matthews),
        ("pearson_spearman", True, _mean(pearson, spearman)),
    )
}


def metric_of(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UserError: there is none.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
