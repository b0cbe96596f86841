"""What a label is: yes or no, one of several classes, or a value. Each knows its loss, its scores, and its probe."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.data.text_table import TextKind, TextTable
from hpo_bench.tasks.molecule.probe import logistic, ridge, standardiser
from hpo_bench.tasks.text.multinomial import multinomial


class Target(ABC):
    """Labels (N, L) float64 of a kind; a row with a NaN has no label and is left out."""

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
        return multinomial(features, labels)


class Regression(Target):
    """One column of values: squared error on labels standardised by the train split."""

    def __init__(self, train: Tensor) -> None:
        self.mean, self.std = standardiser(train.double())

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = torch.where(known, (labels - self.mean) / self.std, 0.0).to(outputs.dtype)
        return torch.where(known, (outputs - targets) ** 2, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs.double() * self.std + self.mean

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return ridge(features, (labels - self.mean) / self.std)


def target_of(kind: TextKind, train: Tensor) -> Target:
    """The target of that kind, for the train split's labels (N, L)."""
    if kind == "regression":
        return Regression(train)
    return Binary() if kind == "binary" else Classes()


def label_columns(table: TextTable) -> np.ndarray:
    """A table's labels as columns (N, L) float64: of several classes one column each."""
    if table.kind == "classes":
        return np.eye(len(table.classes))[table.labels.astype(int)]
    return table.labels[:, None]
