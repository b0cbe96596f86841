"""How dF/dλ is estimated, the exchangeable part of Algorithm 1; by default by the implicit function theorem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor

from tapweight.checks import whole
from tapweight.directional import LastStep, last_step_cost
from tapweight.hypergradient import Hypergradient, hypergradient
from tapweight.levels import Finetuning, Pretraining, TaskLevel
from tapweight.solvers.base import Solver
from tapweight.solvers.identity import Identity


class Cost(NamedTuple):
    """Most forward-equivalents of one estimate: for its pretraining batches together, per train batch, per valid batch.

    `may_fail`: the solve can fail, and is then made again with more damping (`WeightLearner.retries`).
    """

    pretrain: float
    train: float
    valid: float
    may_fail: bool


class Estimator(ABC):
    """Gives dF/dλ at the parameters as they are, for `WeightLearner`.

    A new one implements `estimate`, and `cost` where a bill is to be known beforehand. It sees levels II and III
    through `TaskLevel.encoder_gradient` alone, runs inside `evaluation.untouched`, so that nothing is left changed,
    counts its passes in `Hypergradient.passes`, and raises `HypergradientFailure` where there is no answer.

    Attributes:
        batches: pretraining batches that one estimate takes: the step's own and those that the caller adds.
        levels: 3, or 2 where the task's encoder is that of pretraining, both trained on one sum.
    """

    batches: int = 1
    levels: Literal[3, 2] = 3

    @abstractmethod
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
        """dF/dλ (K,) under weights (K,).

        Args:
            seed: of the passes' random numbers, as in `hypergradient`.
            known_losses: ℓ(θ) (K,) on `pretrain_batches` under `seed`, to be used where that saves a pass.
        """

    @abstractmethod
    def cost(self, task: TaskLevel | type[TaskLevel], objectives: int, pretrain_size: int, finetune_size: int) -> Cost:
        """What one estimate takes for K `objectives`, θ and φ of so many numbers."""

    def check(self, pretraining: Pretraining, task: TaskLevel) -> None:
        """Raise ValueError where this cannot serve these levels."""
        task.check(pretraining)

    def more_damping(self) -> bool:
        """Damp the solves four times as much from now on, after one that failed. False: there is nothing to damp."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """What an estimate depends on besides its arguments."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (an estimator may have no state)
        """Go on where `state_dict` was taken."""


class Implicit(Estimator):
    """The implicit function theorem at the current point: `hypergradient`, with its solvers and their damping.

    Args:
        finetune_solver: of products with the inverse Hessian of level II; default Identity. A probe takes none, nor
            does levels=2.
        pretrain_solver: the same of level I.
        last_step: see `hypergradient`.
        levels: see `hypergradient`.
        normalise: see `hypergradient`.
        batches: pretraining batches averaged in one estimate. Default: four, or one with a solver that multiplies by
            the Hessian, where each batch costs as much as dozens of steps (docs/hypergradients.md, "Noise").
    """

    def __init__(
        self,
        *,
        finetune_solver: Solver | None = None,
        pretrain_solver: Solver | None = None,
        last_step: LastStep = "jvp",
        levels: Literal[3, 2] = 3,
        normalise: bool = False,
        batches: int | None = None,
    ) -> None:
        self.finetune_solver, self.pretrain_solver = finetune_solver, pretrain_solver or Identity()
        self.last_step, self.levels, self.normalise = last_step, levels, normalise
        if levels not in (3, 2) or last_step not in get_args(LastStep):
            raise ValueError(
                f"levels is {levels!r} and last_step {last_step!r}: 3 or 2, and one of {', '.join(get_args(LastStep))}"
            )
        usual = 1 if self.pretrain_solver.cost(1) else 4
        self.batches = usual if batches is None else whole("batches", batches, 1, otherwise=", or None for the usual")
        self._dampings = 0

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
        return hypergradient(
            pretraining,
            task,
            weights,
            pretrain_batches=pretrain_batches,
            train_batches=train_batches,
            valid_batches=valid_batches,
            finetune_solver=self.finetune_solver,
            pretrain_solver=self.pretrain_solver,
            last_step=self.last_step,
            levels=self.levels,
            normalise=self.normalise,
            seed=seed,
            known_losses=known_losses if self.last_step == "forward" else None,
        )

    def cost(self, task: TaskLevel | type[TaskLevel], objectives: int, pretrain_size: int, finetune_size: int) -> Cost:
        a_solve = self.pretrain_solver.cost(pretrain_size)
        pretrain = self.batches * (last_step_cost(self.last_step, objectives) + a_solve)
        train, valid = task.cost(self.finetune_solver if self.levels == 3 else self.pretrain_solver, finetune_size)
        return Cost(pretrain, train, valid, bool(a_solve or (self.finetune_solver or Identity()).cost(finetune_size)))

    def check(self, pretraining: Pretraining, task: TaskLevel) -> None:
        super().check(pretraining, task)
        if self.levels == 3 and isinstance(task, Finetuning):
            if any(pair.phi is pair.theta for pair in task.pairs(pretraining)):
                raise ValueError("both levels hold one encoder: give the fine-tuned model a copy (copy.deepcopy)")
        elif self.levels == 2 and not (
            isinstance(task, Finetuning) and all(pair.phi is pair.theta for pair in task.pairs(pretraining))
        ):
            raise ValueError("levels=2 trains one encoder: let finetuning.module.encoder be pretraining.module.encoder")

    def more_damping(self) -> bool:
        damped = [solver and solver.damped(4) for solver in (self.finetune_solver, self.pretrain_solver)]
        if not any(damped):
            return False
        self.finetune_solver = damped[0] or self.finetune_solver
        self.pretrain_solver = damped[1] or self.pretrain_solver
        self._dampings += 1
        return True

    @property
    def damping(self) -> float:
        """Damping of the pretraining level's solver now, in units of curvature; 0 where it has none."""
        return float(getattr(self.pretrain_solver, "damping", 0.0))

    def state_dict(self) -> dict[str, Any]:
        return {"dampings": self._dampings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["dampings"] < self._dampings:
            raise ValueError("this estimator has been damped further than the state to be loaded: make a new one")
        while self._dampings < state["dampings"]:
            self.more_damping()
