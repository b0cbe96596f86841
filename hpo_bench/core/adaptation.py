"""Adapting an encoder to the task. Each way is a class of its own, found by the protocol's `mode`."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench import registry
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.memory import by_parts
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import seeded
from hpo_bench.tasks.base import Labelled, Task


class Scorer(nn.Module, ABC):
    """An encoder that was adapted: it gives scores. Its state dict is what is kept of it."""

    encoder: nn.Module

    @abstractmethod
    def scores(self, task: Task, inputs: Any, index: Tensor) -> Tensor:
        """Scores (B, L) for rows `index` (B,) of a split's inputs, in the units of the task's metric."""


class AdaptedModel(Scorer):
    """φ: an encoder and a linear task head."""

    def __init__(self, encoder: nn.Module, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    @classmethod
    def start(cls, task: Task, encoder: nn.Module, protocol: Protocol, seed: int) -> AdaptedModel:
        """A copy of `encoder` under a fresh head, initialised from the seed (seed, "head")."""
        with seeded(seed, "head"):
            model = cls(copy.deepcopy(encoder), task.embedding_width, task.outputs, protocol.dropout)
        return model.to(task.device)

    def outputs(self, task: Task, inputs: Any, index: Tensor) -> Tensor:
        """Head outputs (B, L) for rows `index` (B,) of a split's inputs."""
        return self.head(self.dropout(task.embed(self.encoder, inputs, index)))

    def scores(self, task: Task, inputs: Any, index: Tensor) -> Tensor:
        return task.decode(self.outputs(task, inputs, index).double())


@dataclass(frozen=True)
class Adapted:
    """An adapted model and its score on valid; `epochs` of training, 0 where nothing was trained."""

    model: Scorer
    value: float
    epochs: int


class Adaptation(ABC):
    """A way of adapting, registered as an entry point of the group `hpo_bench.adaptations` under the mode's name.

    Attributes:
        level_two: how a method that learns weights beside the training sees this adaptation: "tuned", a copy that is
            fine-tuned along, "probe", a head solved on the encoder, or the name of a level of one's own
            (`hpo_bench.search.implicit_levels.LevelTwo`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    level_two: ClassVar[str]

    @abstractmethod
    def cost(self, protocol: Protocol, train_size: int, valid_size: int) -> float:
        """Step-equivalents of one adaptation with its valid scores, at most."""

    @abstractmethod
    def adapt(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
        """Adapt a copy of `encoder` to the train split and score it on valid."""

    def blank(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int) -> Scorer:
        """A model of the shape that `adapt` gives, around a copy of `encoder`."""
        return AdaptedModel.start(task, encoder, protocol, seed)

    def save(self, path: Path, model: Scorer) -> None:
        """Keep an adapted model."""
        save_state(path, {"model": dict(model.state_dict())})

    def load(self, path: Path, task: Task, protocol: Protocol, seed: int) -> Scorer:
        """An adapted model that was kept."""
        model = self.blank(task, task.build_model().get_submodule("encoder"), protocol, seed)
        model.load_state_dict(load_state(path, task.device)["model"])
        return model


def adaptation(mode: str) -> Adaptation:
    """The adaptation of a protocol's mode.

    Raises:
        UserError: there is none of this name.
    """
    return registry.load(registry.ADAPTATIONS, mode)()


def adapt(task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
    """Adapt a copy of `encoder` to the train split in the protocol's mode and score it on valid."""
    return adaptation(protocol.mode).adapt(task, encoder, protocol, seed, meter)


def calibrate(model: Scorer, task: Task, index: Tensor, meter: CostMeter) -> None:
    """Count the FLOPs of one forward pass over rows `index` (B,) of train, the first time a run adapts a model."""
    if "adaptation" in meter.flops_per_sample:
        return
    training = model.training
    model.eval()  # batch-norm buffers stay as they are
    with meter.phase("orchestration"):
        meter.calibrate("adaptation", len(index), lambda: model.scores(task, task.train.inputs, index))
    model.train(training)


def features_of(task: Task, encoder: nn.Module, split: Labelled, index: Tensor, meter: CostMeter) -> Tensor:
    """Features (B, D), float32, of the rows `index` (B,) of a split: one forward pass each, on the bill.

    The encoder's mode and whether a gradient is kept are the caller's.

    Raises:
        Diverged: they are not finite.
    """
    features = torch.cat(by_parts(task, index, lambda part: task.embed(encoder, split.inputs, part))).float()
    meter.passes(len(index), forward=1, kind="adaptation")
    if not torch.isfinite(features).all():
        raise Diverged(f"the encoder's features of the {split.name} split are not finite")
    return features


def predict(task: Task, model: Scorer, split: Labelled, meter: CostMeter) -> np.ndarray:
    """Scores (N, L) of a split in evaluation mode, in the units of the task's metric."""
    model.eval()
    rows = torch.arange(len(split), device=task.device)
    with torch.no_grad():
        parts = by_parts(task, rows, lambda part: model.scores(task, split.inputs, part))
        meter.passes(len(split), forward=1, kind="adaptation")
        return torch.cat(parts).double().cpu().numpy()


def score(task: Task, model: Scorer, split: Labelled, meter: CostMeter) -> float:
    """The task's metric on a split.

    Raises:
        Diverged: the model's scores, or their metric, are not finite.
    """
    with meter.phase("evaluation"):
        scores = predict(task, model, split, meter)
        if not np.isfinite(scores).all():
            raise Diverged(f"the adapted model's scores on {split.name} are not finite")
        value = task.metric.compute(scores, split.labels.cpu().numpy())
    if not math.isfinite(value):
        raise Diverged(f"{task.metric.name} on {split.name} is {value}")
    return value
