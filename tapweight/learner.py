"""The whole alternation, Algorithm 1 of the paper: a pretraining step, a fine-tuning step, now and then the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tapweight.checks import no_gradient, whole
from tapweight.evaluation import Capture, draw_seed, seed_generators, sent
from tapweight.hypergradient import Hypergradient
from tapweight.levels import Finetuning
from tapweight.parts import devices_of, trainable
from tapweight.weight_learner import WeightLearner


@dataclass
class Step:
    """One step of the alternation: losses (K,) and train loss before it, the weight update if there was one.

    `train_loss` is None where the task level is a probe, which is solved and not trained.
    """

    losses: Tensor
    train_loss: Tensor | None
    update: Hypergradient | None


class Learner:
    """A `WeightLearner` and two optimisers: trains both models and the weights.

    A weight update that is due in a step is computed from that step's batches before either model moves.

    Levels with `capture` have their training steps recorded, too, and optimisers must then be capturable (fused Adam
    with capturable=True): gradients stay where they are from step to step.

    Args:
        weight_learner: the levels, the weights, the estimator.
        pretrain_optimizer: holds θ.
        finetune_optimizer: holds φ; with levels=2 the head of φ. None with a probe, which has no φ.
        accumulate: calls of `step` whose gradients are averaged into one optimiser step.
        autocast: dtype of the training passes, torch.bfloat16 say; hypergradients stay in the parameters' dtype.
        before_step: called with "pretrain" or "finetune" and the module when its gradients are complete: clipping.
    """

    def __init__(
        self,
        weight_learner: WeightLearner,
        pretrain_optimizer: torch.optim.Optimizer,
        finetune_optimizer: torch.optim.Optimizer | None = None,
        *,
        accumulate: int = 1,
        autocast: torch.dtype | None = None,
        before_step: Callable[[str, nn.Module], None] | None = None,
    ) -> None:
        whole("accumulate", accumulate, 1)
        self.weight_learner, self.weights = weight_learner, weight_learner.weights
        self.pretraining = weight_learner.pretraining
        self.finetuning = weight_learner.task if isinstance(weight_learner.task, Finetuning) else None
        if (self.finetuning is None) != (finetune_optimizer is None):
            raise ValueError("finetune_optimizer trains a Finetuning: give it with one, and not with a probe")
        optimizers = [o for o in (pretrain_optimizer, finetune_optimizer) if o is not None]
        for optimizer, level in zip(optimizers, (self.pretraining, self.finetuning), strict=False):
            assert level is not None
            own = {id(p) for p in level.module.parameters() if p.requires_grad}
            if not own & {id(p) for group in optimizer.param_groups for p in group["params"]}:
                raise ValueError(f"{type(optimizer).__name__} holds no parameter of its level: it is another model's")
            if isinstance(optimizer, torch.optim.LBFGS):
                raise ValueError("LBFGS evaluates the loss itself, several times a step: use a first-order optimiser")
        held = [{id(p) for group in o.param_groups for p in group["params"]} for o in optimizers]
        if set.intersection(*held) and len(held) == 2:
            raise ValueError("a parameter is in both optimisers: with levels=2 give finetune_optimizer the head alone")
        self.pretrain_optimizer, self.finetune_optimizer = pretrain_optimizer, finetune_optimizer
        self.accumulate, self.autocast, self.before_step = accumulate, autocast, before_step
        self.steps = 0
        self._pretrain = _Trained(pretrain_optimizer, self.pretraining.capture, self._pretraining_gradients)
        if self.finetuning is not None and finetune_optimizer is not None:
            self._finetune = _Trained(finetune_optimizer, self.finetuning.capture, self._finetuning_gradients)

    def step(self, pretrain_batch: Any, train_batch: Any, valid_batch: Any, *, more: Sequence[Any] = ()) -> Step:
        """One step at each level, and a weight update on these batches when it is due.

        Args:
            train_batch: of level II; for a probe, what its head is solved on: the whole split.
            more: further pretraining batches for the update alone, up to `weight_learner.estimator.batches` in all.
                They lower its noise, and are looked at only where `weight_learner.due(steps + 1)`.

        A step that raises does not count.
        """
        weights = self.weights.values  # this step's, whatever an update makes of them
        number = self.steps + 1
        first, last = self.steps % self.accumulate == 0, number % self.accumulate == 0
        joint = self.weight_learner.estimator.levels == 2
        # The training pass then has the random numbers of the hypergradient's, which may use its losses.
        seed = draw_seed()
        seed_generators(seed, devices_of(self.pretraining.module))
        module = self.pretraining.module
        losses = self._pretrain.descend(first, module.training, self._at_hand(weights), pretrain_batch)
        update = None
        if self.weight_learner.due(number):  # where these losses were computed, before either level moves
            # Losses under autocast are too coarse to be subtracted.
            known = losses if self.autocast is None and not more else None
            batches = [pretrain_batch, *more]
            update = self.weight_learner.update(batches, [train_batch], [valid_batch], seed=seed, known_losses=known)
        if last and not joint:  # level II is pulled to θ as it is after this step
            self._optimise(self._pretrain, "pretrain", self.pretraining.module)
        train_loss = None
        if self.finetuning is not None and self.finetune_optimizer is not None:
            pulled = last and not joint
            train_loss = self._finetune.descend(first, self.finetuning.module.training, train_batch, pulled)
            if last and joint:  # one sum, one step of both optimisers at the same point
                self._optimise(self._pretrain, "pretrain", self.pretraining.module)
            if last:
                self._optimise(self._finetune, "finetune", self.finetuning.module)
        self.steps = number
        return Step(losses, train_loss, update)

    def _at_hand(self, weights: Tensor) -> Tensor:
        device = next(iter(trainable(self.pretraining.module).values())).device
        return sent(weights, device)

    def _pretraining_gradients(self, weights: Tensor, batch: Any) -> Tensor:
        with self._precision():
            losses = self.pretraining.checked_losses(self.pretraining.module, batch, len(weights))
        if not losses.requires_grad:
            raise ValueError(no_gradient("any objective", "any parameter"))
        ((losses * weights.to(losses)).sum() / self.accumulate).backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _finetuning_gradients(self, batch: Any, pulled: bool) -> Tensor:
        assert self.finetuning is not None
        with self._precision():
            loss = self.finetuning.checked_loss(self.finetuning.module, batch)
        if not loss.requires_grad:
            raise ValueError(no_gradient("the task loss", "any parameter"))
        (loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        if pulled:
            self.finetuning.add_proximal_grad_(self.pretraining)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Models, optimisers, weights and counters. Gradients accumulated halfway and generators are not in it."""
        return {
            "steps": self.steps,
            "weight_learner": self.weight_learner.state_dict(),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.steps = state["steps"]
        self.weight_learner.load_state_dict(state["weight_learner"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "pretrain_module": self.pretraining.module,
            "pretrain_optimizer": self.pretrain_optimizer,
            "finetune_module": self.finetuning and self.finetuning.module,
            "finetune_optimizer": self.finetune_optimizer,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _precision(self) -> Any:
        if self.autocast is None:
            return nullcontext()
        device = next(iter(trainable(self.pretraining.module).values())).device.type
        return torch.autocast(device, dtype=self.autocast)

    def _optimise(self, trained: _Trained, which: str, module: nn.Module) -> None:
        if self.before_step is not None:
            self.before_step(which, module)
        trained.step()


class _Trained:
    """A level's training passes and its optimiser's steps, recorded where the level records.

    Args:
        gradients: `gradients(*given)` adds to the parameters' gradients, and gives the loss or losses.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, capture: Capture | None, gradients: Callable[..., Tensor]
    ) -> None:
        self.optimizer, self.free, self._gradients = optimizer, capture is None, gradients
        self._descend, self._step = self._cleared, self._moved
        if capture is not None:
            self._descend, self._step = capture(self._cleared), capture(self._moved)
        self._kept: list[Tensor | None] = []
        self._without: list[int] | None = None  # parameters that no pass gives a gradient

    def descend(self, first: bool, training: bool, *given: Any) -> Tensor:
        """The gradients of one batch, on top of those that are there unless it is the first."""
        if self.free or self._missing() == self._without:
            return self._descend((training, self._places()), first, *given)
        # A recording writes to gradients that are there; it makes none.
        found = self._cleared(None, first, *given)
        self._without = self._missing()
        return found

    def _missing(self) -> list[int]:
        """Which parameters have no gradient."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [number for number, parameter in enumerate(parameters) if parameter.grad is None]

    def step(self) -> None:
        """One step of the optimiser. What it was told is a part of what is recorded: another rate is another one."""
        told = [
            {key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups
        ]
        self._step((told, self._places()))

    def _cleared(self, _: Any, first: bool, *given: Any) -> Tensor:
        if first:  # what is recorded writes to the same gradients again
            self.optimizer.zero_grad(set_to_none=self.free)
        return self._gradients(*given)

    def _moved(self, _: Any) -> None:
        self.optimizer.step()

    def _places(self) -> int:
        """Where parameters, gradients and the optimiser's state lie: a recording is good for these places alone."""
        if self.free:
            return 0
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._kept = [p.grad for p in parameters]
        states = [value for p in parameters for value in self.optimizer.state[p].values() if isinstance(value, Tensor)]
        return hash(tuple(0 if tensor is None else tensor.data_ptr() for tensor in (*parameters, *self._kept, *states)))
