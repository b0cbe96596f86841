"""Continued pretraining with objective weights that may change at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hpo_bench.core.captured import CapturedStep, as_graphs
from hpo_bench.core.device import autocast, check_precision, products, to_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.micro_batches import draw, parts_of, shares, summed
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import derive_seed, generator, seed_generators
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.tasks.base import Pretrainable, gradient_alone

Capture = Callable[[Callable[..., Any]], CapturedStep]


class Diverged(RuntimeError):
    """A loss became NaN or infinite."""


class Pretrainer:
    """One encoder with its objective heads (θ), from the base checkpoint, and its optimiser.

    Step t draws its batch from the seed (seed, "pretraining", t) and dropout from (seed, "dropout", t), so the state to
    save is model, optimiser and step: a resumed run is bit-identical to an unbroken one.
    """

    def __init__(self, task: Pretrainable, protocol: Protocol, seed: int, meter: CostMeter) -> None:
        self.task, self.protocol, self.seed, self.meter = task, protocol, seed, meter
        check_precision(task.device, protocol.precision)
        self.model = task.build_model()
        on_gpu, rate = task.device.type == "cuda", protocol.learning_rate
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=torch.tensor(rate, device=task.device) if on_gpu and protocol.scheduled else rate,
            weight_decay=protocol.weight_decay,
            fused=on_gpu,  # one kernel for all parameters
            capturable=on_gpu,
        )
        self.step_number = 0
        self._samples = protocol.batch_size * task.passes  # of a whole pass
        self._kind = " ".join(("pretraining", *task.wanted))
        self.capture: Capture | None = as_graphs if on_gpu else None  # how passes of this model are recorded
        self._captured = self.capture(self._body) if self.capture else None

    def draw_batch(self, step: int) -> Any:
        """The batch of a step, or its `MicroBatches`; the same for every trial of one search."""
        return draw(self.task, self.protocol, generator(self.task.draws_on, self.seed, "pretraining", step))

    def step(self, weights: Tensor, batch: Any) -> Tensor:
        """One step of Σ λ_i ℓ_i for weights (K,); returns the detached losses (K,)."""
        self._calibrate(batch)
        self._begin(self.step_number)
        if self.protocol.scheduled:
            self.set_rate(self.protocol.rate(self.step_number))
        losses = (self._captured or self._body)(weights, batch)
        self.step_number += 1
        self.meter.passes(self._samples, forward=1, backward=1, kind=self._kind)
        return losses

    def losses(self, batch: Any, step: int | None = None) -> Tensor:
        """The losses (K,) with their graph, under the random numbers of a step (the next one); not billed."""
        return summed(list(self.each(batch, step)))

    def each(self, batch: Any, step: int | None = None) -> Iterator[Tensor]:
        """The same, part by part of `MicroBatches`: what each adds to the losses (K,), with a graph of its own."""
        self._calibrate(batch)
        self._begin(self.step_number if step is None else step)
        for part, share in shares(self.task, batch):
            with products(self.protocol.precision):
                losses = self._losses(part, share)
            yield losses

    def descend(self, losses: Tensor, weights: Tensor) -> None:
        """The optimiser's step along Σ λ_i ∇ℓ_i for weights (K,); not billed."""
        if self.protocol.scheduled:
            self.set_rate(self.protocol.rate(self.step_number))
        with products(self.protocol.precision):
            self.optimizer.zero_grad(set_to_none=True)
            torch.dot(weights.to(losses), losses).backward()
            self.optimizer.step()
        self.step_number += 1

    def descend_along(self, gradients: Sequence[Sequence[Tensor]], weights: Tensor) -> None:
        """The same from each objective's gradients on the trainable parameters, in their order; not billed."""
        if self.protocol.scheduled:
            self.set_rate(self.protocol.rate(self.step_number))
        self.optimizer.zero_grad(set_to_none=True)
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter, *own in zip(trainable, *gradients, strict=True):
            terms = (weight * gradient for weight, gradient in zip(weights.to(parameter), own, strict=True))
            parameter.grad = sum(terms, torch.zeros_like(own[0]))
        self.optimizer.step()
        self.step_number += 1

    @torch.no_grad()
    def remember(self, task: Pretrainable, steps: int) -> None:
        """Batch norm sees all views of the last `steps` batches; nothing is trained.

        Where `self.task` was narrowed from `task`, it had seen those views alone that its own objectives read, and
        outside training an encoder goes by what it has seen.
        """
        with self.meter.phase("pretraining"), products(self.protocol.precision):
            for step in range(self.step_number - steps, self.step_number):
                batch = draw(task, self.protocol, generator(task.draws_on, self.seed, "pretraining", step))
                self._begin(step)
                with autocast(task.device, self.protocol.precision):
                    for part in parts_of(batch):
                        task.objective_losses(self.model, part)
                self.meter.passes(self.protocol.batch_size, forward=1)

    @contextmanager
    def forward_alone(self) -> Iterator[None]:
        """Passes inside the block have no graph, and leave batch norm's running statistics as they were."""
        kept = [buffer.clone() for buffer in self.model.buffers()]
        try:
            with torch.no_grad():
                yield
        finally:
            for buffer, own in zip(self.model.buffers(), kept, strict=True):
                buffer.data.copy_(own)  # a graph may still wait for its backward pass

    def _begin(self, step: int) -> None:
        self.model.train()
        seed_generators(derive_seed(self.seed, "dropout", step))

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # what was captured reads it there
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _body(self, weights: Tensor, batch: Any) -> Tensor:
        """What a step asks of the device: nothing in it depends on a number, so it can be captured."""
        with products(self.protocol.precision):
            self.optimizer.zero_grad(set_to_none=True)
            found = []
            for part, share in shares(self.task, batch):
                with gradient_alone():
                    losses = self._losses(part, share)
                torch.dot(weights.to(losses), losses).backward()
                found.append(losses.detach())
            self.optimizer.step()
        return summed(found)

    def _losses(self, part: Any, share: Tensor | None) -> Tensor:
        """What a part of a batch adds to the batch's losses (K,)."""
        with autocast(self.task.device, self.protocol.precision):
            losses = self.task.objective_losses(self.model, part)
        if losses.dtype in (torch.bfloat16, torch.float16):  # the weights would lose their digits
            losses = losses.float()
        return losses if share is None else losses * share

    def run(self, schedule: WeightSchedule, until: int, on_step: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """Train up to step `until` under a schedule; returns the last losses (K,).

        Raises:
            Diverged: a loss is not finite.
        """
        losses = torch.full((self.task.num_objectives,), float("nan"))
        with self.meter.phase("pretraining"):
            while self.step_number < until:
                weights = to_device(schedule.at(self.step_number), self.task.device)
                losses = self.step(weights, self.draw_batch(self.step_number))
                # Reading a loss stalls an accelerator, so divergence is looked for now and then.
                if self.step_number % 50 == 0 or self.step_number == until:
                    self.check(losses)
                if on_step is not None:
                    on_step(self.step_number, losses)
        return losses

    def check(self, losses: Tensor) -> None:
        """Raise `Diverged` unless all losses (K,) are finite."""
        if not torch.isfinite(losses).all():
            named = dict(zip(self.task.objectives, losses.tolist(), strict=True))
            raise Diverged(f"loss not finite at step {self.step_number}: {named}")

    def _calibrate(self, batch: Any) -> None:
        if self._kind not in self.meter.flops_per_sample:

            def run() -> None:
                for part in parts_of(batch):
                    self.task.objective_losses(self.model, part)

            self.model.eval()  # batch-norm buffers stay as they are
            with self.meter.phase("orchestration"):
                self.meter.calibrate(self._kind, self._samples, run)

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser and step."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_number,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])  # into new tensors: what was captured knows the old ones
        if self.capture is not None:
            self._captured = self.capture(self._body)
        self.step_number = int(state["step"])
