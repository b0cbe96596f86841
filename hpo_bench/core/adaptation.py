"""Adapting an encoder to the task: full fine-tuning, or an exactly solved linear probe on the frozen encoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.core.device import autocast
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.protocol import AdaptationMode, Protocol
from hpo_bench.core.rng import derive_seed, generator, seeded
from hpo_bench.tasks.base import Labelled, Task


class AdaptedModel(nn.Module):
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


class FineTuner:
    """Level II: the steps of fine-tuning, with or without the proximal term γ‖φ_e − θ_e‖²."""

    def __init__(self, task: Task, protocol: Protocol, encoder: nn.Module, seed: int, meter: CostMeter) -> None:
        self.task, self.protocol, self.seed, self.meter = task, protocol, seed, meter
        self.model = AdaptedModel.start(task, encoder, protocol, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=protocol.adapt_learning_rate)
        self.step_number = 0

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.task.train) // self.protocol.adapt_batch_size)

    def draw_batch(self, step: int) -> Tensor:
        """Row indices of step `step`: every epoch is a fresh permutation of the train split."""
        epoch, position = divmod(step, self.steps_per_epoch)
        source = generator(self.task.device, self.seed, "adaptation", epoch)
        order = torch.randperm(len(self.task.train), generator=source, device=self.task.device)
        size = self.protocol.adapt_batch_size
        index = order[position * size : (position + 1) * size]
        # Batch norm in training mode has no statistics of a single sample.
        return index if len(index) > 1 else order[-2:]

    def loss(self, model: AdaptedModel, split: Labelled, index: Tensor) -> Tensor:
        """Mean task loss of rows `index` (B,) of a split."""
        with autocast(self.task.device, self.protocol.precision):
            outputs = model.outputs(self.task, split.inputs, index)
        return self.task.task_loss(outputs.float(), split.labels[index])

    def step(self, index: Tensor, before_update: Callable[[], None] | None = None) -> Tensor:
        """One step; `before_update` may change the gradients (it adds the proximal term's). Returns the loss."""
        calibrate(self.model, self.task, index, self.meter)
        self.model.train()
        torch.manual_seed(derive_seed(self.seed, "adaptation-dropout", self.step_number))
        loss = self.loss(self.model, self.task.train, index)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if before_update is not None:
            before_update()
        self.optimizer.step()
        self.step_number += 1
        self.meter.passes(len(index), forward=1, backward=1, kind="adaptation")
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_number,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = int(state["step"])


def calibrate(model: AdaptedModel, task: Task, index: Tensor, meter: CostMeter) -> None:
    """Count the FLOPs of one forward pass over rows `index` (B,) of train, the first time a run adapts a model."""
    if "adaptation" in meter.flops_per_sample:
        return
    training = model.training
    model.eval()  # batch-norm buffers stay as they are
    with meter.phase("orchestration"):
        meter.calibrate("adaptation", len(index), lambda: model.outputs(task, task.train.inputs, index))
    model.train(training)


@dataclass(frozen=True)
class Adapted:
    """An adapted model and its score on valid."""

    model: AdaptedModel
    value: float
    epochs: int


def predict(task: Task, model: AdaptedModel, split: Labelled, meter: CostMeter) -> np.ndarray:
    """Scores (N, L) of a split in evaluation mode, in the units of the task's metric."""
    model.eval()
    rows = torch.arange(len(split), device=task.device)
    with torch.no_grad():
        parts = [model.outputs(task, split.inputs, index) for index in rows.split(task.eval_batch_size)]
        meter.passes(len(split), forward=1, kind="adaptation")
        return task.decode(torch.cat(parts).double()).double().cpu().numpy()


def score(task: Task, model: AdaptedModel, split: Labelled, meter: CostMeter) -> float:
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


def adapt(task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
    """Adapt a copy of `encoder` to the train split in the protocol's mode and score it on valid."""
    return MODES[protocol.mode](task, encoder, protocol, seed, meter)


def _fine_tune(task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
    """Fine-tune everything; the epoch with the best valid score is kept (ties: the earlier one)."""
    tuner = FineTuner(task, protocol, encoder, seed, meter)
    best: tuple[float, int, dict[str, Tensor]] | None = None
    for epoch in range(1, protocol.epochs + 1):
        with meter.phase("adaptation"):
            for _ in range(tuner.steps_per_epoch):
                tuner.step(tuner.draw_batch(tuner.step_number))
        value = score(task, tuner.model, task.valid, meter)
        if best is None or task.metric.better(value, best[0]):
            best = (value, epoch, {k: v.detach().clone() for k, v in tuner.model.state_dict().items()})
        elif epoch - best[1] >= protocol.patience:
            break
    assert best is not None  # epochs >= 1
    tuner.model.load_state_dict(best[2])
    return Adapted(tuner.model, best[0], best[1])


def _probe(task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
    """Freeze the encoder and solve the linear head on its features exactly."""
    with meter.phase("adaptation"), torch.no_grad():
        model = AdaptedModel.start(task, encoder, protocol, seed).eval()
        rows = torch.arange(len(task.train), device=task.device)
        calibrate(model, task, rows[: protocol.adapt_batch_size], meter)
        parts = [task.embed(model.encoder, task.train.inputs, index) for index in rows.split(task.eval_batch_size)]
        features = torch.cat(parts).float()
        meter.passes(len(task.train), forward=1, kind="adaptation")
        if not torch.isfinite(features).all():
            raise Diverged("the encoder's features of the train split are not finite")
        weight, bias = task.solve_probe(features, task.train.labels)
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
    return Adapted(model, score(task, model, task.valid, meter), 0)


MODES: dict[AdaptationMode, Callable[..., Adapted]] = {"full": _fine_tune, "probe": _probe}
