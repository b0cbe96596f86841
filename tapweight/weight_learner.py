"""Algorithm 1 of the paper less its training steps: when the weights move, by what estimate, and what if it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tapweight.checks import whole
from tapweight.errors import HypergradientFailure, SolverFailure
from tapweight.estimator import Estimator, Implicit
from tapweight.hypergradient import Hypergradient
from tapweight.levels import Pretraining, TaskLevel
from tapweight.weights import ObjectiveWeights


@dataclass(frozen=True)
class Attempt:
    """One estimate of an update: the passes it made, and its failure, None if it succeeded.

    `damping` is that under which it was made, in units of curvature; 0 where the estimator knows none.
    """

    passes: Mapping[str, int]
    failure: HypergradientFailure | None
    damping: float


class WeightLearner:
    """Learns objective weights beside a training loop of the caller's own.

        learner = WeightLearner(pretraining, finetuning, ObjectiveWeights(names), every=5)
        for step in range(1, steps + 1):
            ...                                      # train level I on Σ λ_i ℓ_i, λ = learner.weights.values
            ...                                      # train level II; a probe needs no training
            if learner.due(step):
                learner.update([batch], [train], valid_batches)

    `Learner` is this and the two training steps.

    A solve that meets an indefinite Hessian is made again with four times the damping, which then stays (as Levenberg
    and Marquardt do). An update that fails for good leaves the weights where they are.

    Args:
        pretraining: level I.
        task: levels II and III: `Finetuning`, a copy that the caller trains along, or `Probe`, a head solved exactly.
        weights: what is learned.
        estimator: of the hypergradient; default `Implicit()`.
        every: steps between updates (paper: T).
        warmup: steps before the first, in which weights stay as they are.
        retries: solves of the whole run that are made again with more damping: 4^retries times the damping given.
        patience: updates in a row that may fail before the failure is raised; None: any number.

    Attributes:
        attempts: those of the last update: what it cost, and why it failed.
        failures: estimates that failed, in all.
    """

    def __init__(
        self,
        pretraining: Pretraining,
        task: TaskLevel,
        weights: ObjectiveWeights,
        *,
        estimator: Estimator | None = None,
        every: int = 5,
        warmup: int = 0,
        retries: int = 6,
        patience: int | None = 10,
    ) -> None:
        whole("every", every, 1)
        whole("warmup", warmup, 0)
        whole("retries", retries, 0)
        if patience is not None:
            whole("patience", patience, 0, otherwise=", or None for any number of failures")
        self.pretraining, self.task, self.weights = pretraining, task, weights
        self.estimator = Implicit() if estimator is None else estimator
        self.every, self.warmup, self.retries, self.patience = every, warmup, retries, patience
        self.estimator.check(pretraining, task)
        self.attempts: list[Attempt] = []
        self.failures = 0
        self._retried = self._failed_in_a_row = 0

    def due(self, step: int) -> bool:
        """Is an update due once `step` steps have been made (or, for `Learner`, in the course of step `step`)?"""
        return step > self.warmup and (step - self.warmup) % self.every == 0

    def update(
        self,
        pretrain_batches: Sequence[Any],
        train_batches: Sequence[Any],
        valid_batches: Sequence[Any],
        *,
        seed: int | None = None,
        known_losses: Tensor | None = None,
    ) -> Hypergradient | None:
        """Estimate dF/dλ on these batches and move the weights; None where they were left alone, see `attempts`.

        Args:
            pretrain_batches: best `estimator.batches` of them. A loop gives its step's own, and draws the others anew.
            train_batches: a probe's head is solved on them: give the whole split.
            valid_batches: the whole split where it is small; fewer add noise.
            seed: see `Estimator.estimate`.
            known_losses: see `Estimator.estimate`.

        Raises:
            HypergradientFailure: after more than `patience` failed updates in a row.
        """
        found = self._estimate(
            pretrain_batches=pretrain_batches,
            train_batches=train_batches,
            valid_batches=valid_batches,
            seed=seed,
            known_losses=known_losses,
        )
        if found is None:
            self._failed_in_a_row += 1
            if self.patience is not None and self._failed_in_a_row > self.patience:
                failure = self.attempts[-1].failure
                assert failure is not None
                raise failure
            return None
        self._failed_in_a_row = 0
        self.weights.update(found.gradient)
        return found

    def _estimate(self, **arguments: Any) -> Hypergradient | None:
        self.attempts = []
        while True:
            damping = float(getattr(self.estimator, "damping", 0.0))
            try:
                found = self.estimator.estimate(self.pretraining, self.task, self.weights.values, **arguments)
            except HypergradientFailure as failure:
                self.failures += 1
                self.attempts.append(Attempt(failure.passes, failure, damping))
                again = isinstance(failure, SolverFailure) and self._retried < self.retries
                if not again or not self.estimator.more_damping():
                    return None
                self._retried += 1
            else:
                self.attempts.append(Attempt(found.passes, None, damping))
                return found

    def state_dict(self) -> dict[str, Any]:
        """Weights, damping and counters. Modules, optimisers and generators are the caller's."""
        return {
            "weights": self.weights.state_dict(),
            "estimator": self.estimator.state_dict(),
            "failures": self.failures,
            "retried": self._retried,
            "failed_in_a_row": self._failed_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; the estimator must be as it was made."""
        self.weights.load_state_dict(state["weights"])
        self.estimator.load_state_dict(state["estimator"])
        self.failures, self._retried = state["failures"], state["retried"]
        self._failed_in_a_row = state["failed_in_a_row"]
