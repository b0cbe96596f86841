"""The whole alternation, Algorithm 1 of the paper: a pretraining step, a fine-tuning step, now and then the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapweight.directional import LastStep
from tapweight.errors import HypergradientFailure
from tapweight.evaluation import devices_of, draw_seed, seed_generators, trainable
from tapweight.hypergradient import Hypergradient, hypergradient
from tapweight.levels import Finetuning, Pretraining
from tapweight.solvers.base import Solver
from tapweight.weights import ObjectiveWeights


@dataclass
class Step:
    """One step of the alternation: losses (K,) and train loss before it, the weight update if there was one."""

    losses: Tensor
    train_loss: Tensor
    update: Hypergradient | None


class Learner:
    """Trains both models and the weights.

    A weight update that is due in a step is computed from that step's batches before either model moves; with
    last_step="forward", the default, it takes ℓ(θ) from the training pass, which leaves one forward pass as its price
    at level I (not under autocast: losses in half precision are too coarse to be subtracted, so two passes are made).

    Args:
        pretraining, finetuning, weights: the problem.
        pretrain_optimizer, finetune_optimizer: hold θ and φ; with levels=2, θ and the head of φ.
        every: steps between weight updates (paper: T).
        warmup: steps before the first, in which weights stay as they are.
        finetune_solver, pretrain_solver, last_step, levels: of `hypergradient`. With levels=2 both modules must hold
            one and the same encoder, trained on Σ λ_i ℓ_i + ℓ_train.
        accumulate: calls of `step` whose gradients are averaged into one optimiser step.
        autocast: dtype of the training passes, torch.bfloat16 say; hypergradients stay in the parameters' dtype.
        before_step: called with "pretrain" or "finetune" and the module when its gradients are complete: clipping.
        on_update: called with each `Hypergradient` after the weights have moved.
        patience: failed hypergradients in a row that are skipped (weights stay) before the failure is raised.
    """

    def __init__(
        self,
        pretraining: Pretraining,
        finetuning: Finetuning,
        weights: ObjectiveWeights,
        pretrain_optimizer: torch.optim.Optimizer,
        finetune_optimizer: torch.optim.Optimizer,
        *,
        every: int = 5,
        warmup: int = 0,
        finetune_solver: Solver | None = None,
        pretrain_solver: Solver | None = None,
        last_step: LastStep = "forward",
        levels: Literal[3, 2] = 3,
        accumulate: int = 1,
        autocast: torch.dtype | None = None,
        before_step: Callable[[str, nn.Module], None] | None = None,
        on_update: Callable[[Hypergradient], None] | None = None,
        patience: int = 10,
    ) -> None:
        if every < 1 or accumulate < 1:
            raise ValueError("every and accumulate must be at least 1")
        pairs = finetuning.pairs(pretraining)  # raises now, not at the first weight update
        if levels == 2 and any(pair.phi is not pair.theta for pair in pairs):
            raise ValueError("levels=2 trains one encoder: let finetuning.module.encoder be pretraining.module.encoder")
        held = {id(p) for group in pretrain_optimizer.param_groups for p in group["params"]}
        if any(id(p) in held for group in finetune_optimizer.param_groups for p in group["params"]):
            raise ValueError("a parameter is in both optimisers: with levels=2 give finetune_optimizer the head alone")
        self.pretraining, self.finetuning, self.weights = pretraining, finetuning, weights
        self.pretrain_optimizer, self.finetune_optimizer = pretrain_optimizer, finetune_optimizer
        self.every, self.warmup, self.levels, self.accumulate = every, warmup, levels, accumulate
        self.finetune_solver, self.pretrain_solver, self.last_step = finetune_solver, pretrain_solver, last_step
        self.autocast, self.before_step, self.on_update, self.patience = autocast, before_step, on_update, patience
        self.steps, self.failures, self.last_failure = 0, 0, ""
        self._failed_in_a_row = 0

    def step(self, pretrain_batch: Any, train_batch: Any, valid_batch: Any) -> Step:
        """One step at each level, and a weight update on these batches when it is due."""
        weights = self.weights.values  # this step's, whatever an update makes of them
        before, self.steps = self.steps, self.steps + 1
        first, last = before % self.accumulate == 0, self.steps % self.accumulate == 0
        due = self.steps > self.warmup and (self.steps - self.warmup) % self.every == 0
        if first:
            self.pretrain_optimizer.zero_grad(set_to_none=True)
            self.finetune_optimizer.zero_grad(set_to_none=True)
        # The training pass then has the random numbers of the hypergradient's, which can use its losses (reuse).
        seed = draw_seed()
        seed_generators(seed, devices_of(self.pretraining.module))
        with self._precision():
            losses = self.pretraining.losses(self.pretraining.module, pretrain_batch)
        update = None
        if due:  # at the point where these losses were computed, before either level moves
            reuse = {"seed": seed, "known_losses": losses.detach()} if self._reusable else {}
            update = self.weight_step([pretrain_batch], [train_batch], [valid_batch], **reuse)
        objective = (losses * weights.to(losses)).sum()
        (objective / self.accumulate).backward()
        if last and self.levels == 3:  # level II is pulled to θ as it is after this step
            self._optimise(self.pretrain_optimizer, "pretrain", self.pretraining.module)
        with self._precision():
            train_loss = self.finetuning.loss(self.finetuning.module, train_batch)
        (train_loss / self.accumulate).backward()
        if last and self.levels == 3:
            self.finetuning.add_proximal_grad_(self.pretraining)
        if last and self.levels == 2:  # one sum, one step of both optimisers at the same point
            self._optimise(self.pretrain_optimizer, "pretrain", self.pretraining.module)
        if last:
            self._optimise(self.finetune_optimizer, "finetune", self.finetuning.module)
        return Step(losses.detach(), train_loss.detach(), update)

    def weight_step(
        self,
        pretrain_batches: Sequence[Any],
        train_batches: Sequence[Any],
        valid_batches: Sequence[Any],
        **options: Any,
    ) -> Hypergradient | None:
        """One update of the weights; None where the hypergradient failed and the weights were left alone.

        `options` go to `hypergradient`: `seed`, `known_losses`.

        Raises:
            HypergradientFailure: after more than `patience` failures in a row.
        """
        try:
            result = hypergradient(
                self.pretraining,
                self.finetuning,
                self.weights.values,
                pretrain_batches=pretrain_batches,
                train_batches=train_batches,
                valid_batches=valid_batches,
                finetune_solver=self.finetune_solver,
                pretrain_solver=self.pretrain_solver,
                last_step=self.last_step,
                levels=self.levels,
                **options,
            )
        except HypergradientFailure as failure:
            self.failures, self._failed_in_a_row = self.failures + 1, self._failed_in_a_row + 1
            self.last_failure = str(failure)
            if self._failed_in_a_row > self.patience:
                raise
            return None
        self._failed_in_a_row = 0
        self.weights.update(result.weights)
        if self.on_update is not None:
            self.on_update(result)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Models, optimisers, weights and counters. Gradients accumulated halfway and generators are not in it."""
        return {
            "steps": self.steps,
            "failures": self.failures,
            "failed_in_a_row": self._failed_in_a_row,
            "weights": self.weights.state_dict(),
            "pretrain_module": self.pretraining.module.state_dict(),
            "finetune_module": self.finetuning.module.state_dict(),
            "pretrain_optimizer": self.pretrain_optimizer.state_dict(),
            "finetune_optimizer": self.finetune_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.steps, self.failures, self._failed_in_a_row = state["steps"], state["failures"], state["failed_in_a_row"]
        self.weights.load_state_dict(state["weights"])
        self.pretraining.module.load_state_dict(state["pretrain_module"])
        self.finetuning.module.load_state_dict(state["finetune_module"])
        self.pretrain_optimizer.load_state_dict(state["pretrain_optimizer"])
        self.finetune_optimizer.load_state_dict(state["finetune_optimizer"])

    @property
    def _reusable(self) -> bool:
        """May a training pass's losses stand for the hypergradient's? Under autocast they are too coarse."""
        return self.last_step == "forward" and self.autocast is None

    def _precision(self) -> Any:
        if self.autocast is None:
            return nullcontext()
        device = next(iter(trainable(self.pretraining.module).values())).device.type
        return torch.autocast(device, dtype=self.autocast)

    def _optimise(self, optimizer: torch.optim.Optimizer, which: str, module: nn.Module) -> None:
        if self.before_step is not None:
            self.before_step(which, module)
        optimizer.step()
