"""Adaptations that leave the encoder as it is: a linear head solved exactly, and the nearest neighbours."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpo_bench.core.adaptation import Adaptation, Adapted, Scorer, calibrate, features_of, score
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.protocol import Protocol
from hpo_bench.tasks.base import Task

NEIGHBOURS = 10


class Frozen(Adaptation):
    """The encoder is frozen: one pass over train, one over valid."""

    level_two: ClassVar[str] = "probe"

    def cost(self, protocol: Protocol, train_size: int, valid_size: int) -> float:
        return (train_size + valid_size) / protocol.batch_size

    def adapt(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
        with meter.phase("adaptation"), torch.no_grad():
            model = self.blank(task, encoder, protocol, seed).eval()
            rows = torch.arange(len(task.train), device=task.device)
            calibrate(model, task, rows[: protocol.adapt_batch_size], meter)
            self.fit(task, model, features_of(task, model.encoder, task.train, rows, meter))
        return Adapted(model, score(task, model, task.valid, meter), 0)

    def fit(self, task: Task, model: Any, features: Tensor) -> None:
        """Fit what is not the encoder to the train split's features (N, D)."""
        raise NotImplementedError


class LinearProbe(Frozen):
    """The linear head is solved on the frozen encoder's features exactly."""

    name: ClassVar[str] = "probe"
    summary: ClassVar[str] = "a linear head is solved exactly on the frozen encoder"

    def fit(self, task: Task, model: Any, features: Tensor) -> None:
        weight, bias = task.solve_probe(features, task.train.labels)
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)


class NeighbourModel(Scorer):
    """The mean label of the nearest rows of train, by the cosine of their features."""

    def __init__(self, encoder: nn.Module, labels: Tensor, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.features: Tensor
        self.labels: Tensor
        self.register_buffer("features", torch.zeros(len(labels), width))  # of unit length
        self.register_buffer("labels", torch.zeros_like(labels, device="cpu"))  # in the digits that they came with

    def scores(self, task: Task, inputs: Any, index: Tensor) -> Tensor:
        """Means over the labels that are there; where no neighbour has one, the mean of all."""
        features = F.normalize(task.embed(self.encoder, inputs, index).float(), dim=1)
        nearest = (features @ self.features.T).topk(min(NEIGHBOURS, len(self.labels)), dim=1).indices
        found = self.labels[nearest].nanmean(dim=1)  # (B, L)
        return torch.where(found.isnan(), self.labels.nanmean(dim=0).nan_to_num(), found)


class NearestNeighbours(Frozen):
    """The mean label of the ten nearest rows of train: no head, nothing to tune (Wu et al. 2018, arXiv 1805.01978)."""

    name: ClassVar[str] = "neighbours"
    summary: ClassVar[str] = "the mean label of the 10 nearest train rows by cosine; nothing is trained"

    def blank(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int) -> Scorer:
        model = NeighbourModel(copy.deepcopy(encoder), task.train.labels, task.embedding_width)
        return model.to(task.device)

    def fit(self, task: Task, model: Any, features: Tensor) -> None:
        model.features.copy_(F.normalize(features, dim=1))
        model.labels.copy_(task.train.labels)
