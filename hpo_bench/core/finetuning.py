"""Full fine-tuning: encoder and head are trained, the best epoch on valid is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpo_bench.core.adaptation import Adaptation, Adapted, AdaptedModel, calibrate, score
from hpo_bench.core.device import autocast
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.micro_batches import labelled_parts, summed
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import derive_seed, generator, seed_generators
from hpo_bench.tasks.base import Labelled, Task


class FineTuner:
    """Level II: the steps of fine-tuning, with or without the proximal term γ‖φ_e − θ_e‖².

    `start` makes φ from the encoder; what of it asks for a gradient is trained.
    """

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        encoder: nn.Module,
        seed: int,
        meter: CostMeter,
        start: Callable[[Task, nn.Module, Protocol, int], AdaptedModel] = AdaptedModel.start,
    ) -> None:
        self.task, self.protocol, self.seed, self.meter = task, protocol, seed, meter
        self.model = start(task, encoder, protocol, seed)
        moved = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(moved, lr=protocol.adapt_learning_rate)
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
        seed_generators(derive_seed(self.seed, "adaptation-dropout", self.step_number))
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for part, share in labelled_parts(index, self.task.train.labels, self.protocol.micro_batch_size):
            loss = self.loss(self.model, self.task.train, part)
            loss = loss if share is None else loss * share
            loss.backward()
            found.append(loss.detach())
        if before_update is not None:
            before_update()
        self.optimizer.step()
        self.step_number += 1
        self.meter.passes(len(index), forward=1, backward=1, kind="adaptation")
        return summed(found)

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


class FullFineTuning(Adaptation):
    """Everything is fine-tuned; the epoch with the best valid score is kept (ties: the earlier one).

    A way that trains less of the model inherits all but `blank`.
    """

    name: ClassVar[str] = "full"
    summary: ClassVar[str] = "encoder and head are fine-tuned, the best epoch on valid is kept"
    level_two: ClassVar[str] = "tuned"

    def cost(self, protocol: Protocol, train_size: int, valid_size: int) -> float:
        # A last batch of one sample borrows a second (see FineTuner.draw_batch).
        rows = train_size + (1 if train_size > 1 and train_size % protocol.adapt_batch_size == 1 else 0)
        return protocol.epochs * (3 * rows + valid_size) / protocol.batch_size

    def blank(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int) -> AdaptedModel:
        return AdaptedModel.start(task, encoder, protocol, seed)

    def adapt(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
        tuner = FineTuner(task, protocol, encoder, seed, meter, self.blank)
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
