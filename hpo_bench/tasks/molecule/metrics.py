"""Scores of a split, as MoleculeNet defines them: the mean over its labels, missing values left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from hpo_bench.errors import unknown_name
from hpo_bench.tasks.base import Metric

MetricName = Literal["roc_auc", "rmse", "mae"]


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


METRICS: dict[str, Metric] = {
    "roc_auc": Metric("roc_auc", higher_is_better=True, compute=roc_auc),
    "rmse": Metric("rmse", higher_is_better=False, compute=rmse),
    "mae": Metric("mae", higher_is_better=False, compute=mae),
}


def metric_of(name: str) -> Metric:
    """The metric of that name; a UserError that lists them if there is none."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
