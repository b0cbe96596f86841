"""What a label is: yes or no, one of several classes, or a value. Each knows its loss, its scores, and its probe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.tasks.probe import logistic, multinomial, ridge, standardiser

Kind = Literal["binary", "classes", "regression"]


class Target(ABC):
    """Labels (N, L) of a kind; a NaN is a missing one and left out."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of outputs (B, L) over the labels that are there; 0 without any."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (N, L) as probabilities, or in the units of the labels."""

    @abstractmethod
    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The optimal linear head on features (N, D): weight (L, D), bias (L,); differentiable in the features."""

    @abstractmethod
    def constant(self, labels: Tensor) -> Tensor:
        """The outputs (L,) that fit labels (N, L) best without seeing any input."""

    def groups(self, labels: Tensor) -> Tensor | None:
        """The one class (N,) int64 of each row; None where rows have no such thing."""
        return None


class Binary(Target):
    """L columns of 0 and 1, each for itself: cross-entropy."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = torch.where(known, labels, 0.0).to(outputs.dtype)
        losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return logistic(features, labels)

    def constant(self, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        ones = torch.where(known, labels, 0.0).double().sum(0)
        return ((ones + 0.5) / (known.sum(0) + 1)).logit().to(labels)

    def groups(self, labels: Tensor) -> Tensor | None:
        single = labels.shape[1] == 1 and not bool(labels.isnan().any())
        return labels[:, 0].long() if single else None


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

    def constant(self, labels: Tensor) -> Tensor:
        totals = labels[~labels.isnan().any(1)].double().sum(0)
        return ((totals + 1) / (totals + 1).sum()).log().to(labels)

    def groups(self, labels: Tensor) -> Tensor | None:
        return None if bool(labels.isnan().any()) else labels.argmax(1)


class Regression(Target):
    """L columns of values: squared error on labels standardised by the train split."""

    def __init__(self, train: Tensor) -> None:
        self.mean, self.std = standardiser(train.double())

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = torch.where(known, (labels - self.mean) / self.std, 0.0).to(outputs.dtype)
        return torch.where(known, (outputs - targets) ** 2, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs.double() * self.std + self.mean  # an offset may leave float32 no digit

    def probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return ridge(features, (labels - self.mean) / self.std)

    def constant(self, labels: Tensor) -> Tensor:
        return torch.zeros_like(self.mean)


def target_of(kind: Kind, train: Tensor) -> Target:
    """The target of that kind, for the train split's labels (N, L)."""
    if kind == "regression":
        return Regression(train)
    return Binary() if kind == "binary" else Classes()
