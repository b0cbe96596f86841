"""What a label is: yes or no, one of several classes, or a value. Each knows its loss, its scores, and its probe."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.data.text_table import TextKind, TextTable
from hpo_bench.tasks.molecule.probe import PENALTY, logistic, ridge, standardiser


class Target(ABC):
    """Labels (N, L) float32 of a kind; a row with a NaN has no label and is left out."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of outputs (B, L) over the rows with a label; 0 without any."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (N, L) as probabilities, or in the units of the labels."""

    @abstractmethod
    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The optimal linear head on features (N, D): weight (L, D), bias (L,)."""


class Binary(Target):
    """One column of 0 and 1: cross-entropy."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = torch.where(known, labels, 0.0).to(outputs.dtype)
        losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return logistic(features, labels)


class Classes(Target):
    """L columns, one of them 1: cross-entropy of the softmax."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan().any(1)
        targets = torch.where(known[:, None], labels, 0.0).to(outputs.dtype)
        losses = -(targets * outputs.log_softmax(1)).sum(1)
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Multinomial logistic regression with the penalty of the other probes, by scikit-learn's L-BFGS."""
        from sklearn.linear_model import LogisticRegression

        known = ~labels.isnan().any(1)
        x = features[known].double()
        mean, std = standardiser(x)
        solver = LogisticRegression(C=1 / (PENALTY * len(x)), tol=1e-8, max_iter=2000)
        solver.fit(((x - mean) / std).cpu().numpy(), labels[known].argmax(1).cpu().numpy())
        weight = torch.zeros(labels.shape[1], x.shape[1], dtype=torch.float64)
        bias = torch.full((labels.shape[1],), -30.0, dtype=torch.float64)  # a class that no row has
        seen = torch.from_numpy(solver.classes_)
        coefficients, intercepts = torch.from_numpy(solver.coef_), torch.from_numpy(solver.intercept_)
        if len(seen) == 2:  # one row of coefficients, of the second class against the first
            coefficients = torch.cat([-coefficients, coefficients]) / 2
            intercepts = torch.cat([-intercepts, intercepts]) / 2
        weight[seen], bias[seen] = coefficients, intercepts
        weight, bias = weight.to(x.device) / std, bias.to(x.device)
        return weight.to(features.dtype), (bias - weight @ mean).to(features.dtype)


class Regression(Target):
    """One column of values: squared error on labels standardised by the train split."""

    def __init__(self, train: Tensor) -> None:
        mean, std = standardiser(train.double())
        self.mean, self.std = mean.float(), std.float()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = torch.where(known, (labels - self.mean) / self.std, 0.0).to(outputs.dtype)
        return torch.where(known, (outputs - targets) ** 2, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs * self.std.to(outputs.dtype) + self.mean.to(outputs.dtype)

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return ridge(features, (labels - self.mean) / self.std)


def target_of(kind: TextKind, train: Tensor) -> Target:
    """The target of that kind, for the train split's labels (N, L)."""
    if kind == "regression":
        return Regression(train)
    return Binary() if kind == "binary" else Classes()


def label_columns(table: TextTable) -> np.ndarray:
    """A table's labels as columns (N, L) float32: of several classes one column each."""
    if table.kind == "classes":
        return np.eye(len(table.classes), dtype=np.float32)[table.labels.astype(int)]
    return table.labels.astype(np.float32)[:, None]
