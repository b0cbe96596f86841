"""The derivative through h steps of training: an estimator of Algorithm 1 beside the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tapweight.checks import whole
from tapweight.estimator import Cost, Estimator
from tapweight.evaluation import Passes, draw_seed, untouched
from tapweight.horizon.reverse import checked_checkpoints, named_gradient, reverse_hypergradient
from tapweight.hypergradient import Hypergradient
from tapweight.levels import Pretraining, TaskLevel


class ThroughTraining(Estimator):
    """What the weights of the next h steps do to the validation loss after them, exactly, from where training stands.

    Args:
        optimizer: the one that trains level I (SGD, Adam or AdamW); it is read, not moved.
        steps: h. Each takes one pretraining batch of an estimate.
        rate: learning rate of step 0, 1, … from here; default: the optimiser's own.
        checkpoints: of `reverse_hypergradient`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: int = 20,
        *,
        rate: Callable[[int], float] | None = None,
        checkpoints: int | None = None,
    ) -> None:
        self.optimizer, self.batches, self.rate = optimizer, whole("steps", steps, 1), rate
        self.checkpoints = checked_checkpoints(checkpoints)

    def estimate(
        self,
        pretraining: Pretraining,
        task: TaskLevel,
        weights: Tensor,
        *,
        pretrain_batches: Sequence[Any],
        train_batches: Sequence[Any],
        valid_batches: Sequence[Any],
        seed: int | None = None,
        known_losses: Tensor | None = None,
    ) -> Hypergradient:
        passes = Passes()
        with untouched(pretraining.module, *task.modules()):
            first = draw_seed() if seed is None else seed

            def terminal() -> tuple[float, dict[str, Tensor]]:
                found = task.encoder_gradient(
                    pretraining, train_batches, valid_batches, solver=None, seed=first, passes=passes
                )
                return float(found.valid_loss), named_gradient(pretraining, found.gradient)

            found = reverse_hypergradient(
                pretraining,
                self.optimizer,
                weights,
                batches=pretrain_batches,
                terminal=terminal,
                checkpoints=self.checkpoints,
                seed=first,
                rate=self.rate,
            )
        found.passes.update({name: found.passes[name] + count for name, count in passes.items()})
        return found

    def cost(self, task: TaskLevel | type[TaskLevel], objectives: int, pretrain_size: int, finetune_size: int) -> Cost:
        # A step is made three times at most (run, segment, graph), and pulled back once through its gradient.
        return Cost(self.batches * (3 * 3 + 4), *task.cost(None, finetune_size), may_fail=False)
