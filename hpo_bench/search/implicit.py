"""TapWeight as published: the weights are learned during one continued pretraining, by implicit differentiation.

Source: Zhang, Somayajula, Xie, "TapWeight: Reweighting Pretraining Objectives for Task-Adaptive Pretraining"
(arXiv 2410.10006), Algorithm 1. That algorithm is the library's `WeightLearner`; all training is the core's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

import tapweight
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.search.base import Support
from hpo_bench.search.implicit_levels import LEVELS_TWO, LevelTwo, of_mode
from hpo_bench.search.online import OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State
from tapweight.horizon import ThroughTraining

RETRIES = 6  # solves of one run that are made again with more damping: 4^6 times the damping given


@dataclass
class Implicit(OnlineSearch):
    """A pretraining step, a step of level II, and every few steps a step of the weights.

    Attributes:
        every: pretraining steps for one step of the weights.
        solver: of the inverse-Hessian products (`hpo-bench list` names them).
        damping: δ added to the Hessians' diagonal by the solvers that invert them. A solver that meets an indefinite
            Hessian fails: it is tried again with four times the damping, which then stays.
        effort: iterations of conjugate gradients, terms of the Neumann series, rank of Nyström.
        last_step: how the K directional derivatives are taken: jvp (exact), central (differences, for models with an
            operation that has no forward-mode derivative), or gradients (exact, K backward passes).
        levels: 3, or 2 for the bilevel ablation, in which one encoder is trained on both sums.
        level_two: tuned: a copy of the encoder is fine-tuned beside it; probe: a head is solved exactly at every
            update; step: a head makes one step of gradient descent at every update, which is differentiated; protocol:
            whichever of the first two the protocol adapts encoders by.
        warmup: steps before the first one.
        gamma: γ of the proximal term.
        parametrisation: how hypergradients move the weights, as in `tapweight.ObjectiveWeights`: evidence, as far as
            their sum stands out of their noise; mirror: mirror descent, the gradient over its running root mean square;
            softmax: Adam on the logits.
        weight_lr: with evidence, logits for a unit of it (0: 1); with mirror and softmax, the rate (0: 0.05). A rate
            that was meant for Adam, such as the published 0.002, needs softmax: under evidence nothing would move.
        batches: pretraining batches averaged in one hypergradient; 0: four, or one with a solver that multiplies by
            the Hessian, where each batch costs as much as dozens of steps.
        normalise: each objective's gradient at unit length (no longer the exact derivative).
        horizon: steps of training through which the validation loss is differentiated, exactly, in place of the
            implicit function theorem; 0: the theorem, as published.
    """

    name: ClassVar[str] = "implicit"
    summary: ClassVar[str] = (
        "TapWeight as published: learned in one run by implicit differentiation (Zhang et al. 2024, arXiv 2410.10006)"
    )

    every: int = 5
    solver: str = "identity"
    damping: float = 0.1
    effort: int = 5
    last_step: Literal["jvp", "central", "gradients"] = "jvp"
    levels: Literal[2, 3] = 3
    level_two: Literal["protocol", "tuned", "probe", "step"] = "protocol"
    warmup: int = 20
    gamma: float = 0.1
    parametrisation: Literal["evidence", "mirror", "softmax"] = "evidence"
    weight_lr: float = 0.0
    batches: int = 0
    normalise: bool = False
    horizon: int = 0

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ("validation",)

    def __post_init__(self) -> None:
        if self.solver not in tapweight.solvers.names():
            raise unknown_name("solver", self.solver, tapweight.solvers.names())
        if self.normalise and self.last_step != "gradients":
            raise UserError("normalise needs the norm of every objective's gradient", "give -o last_step=gradients too")
        if not 0 < self.gamma < math.inf or not all(0 <= value < math.inf for value in (self.weight_lr, self.damping)):
            raise UserError("gamma must be positive, weight_lr and damping at least 0, all finite", "give other -o")
        if self.horizon < 0 or (self.horizon and (self.levels == 2 or self.level_two not in ("protocol", "probe"))):
            raise UserError("horizon needs three levels and a probe as level II", "leave out levels and level_two")
        if min(self.every, self.effort) < 1 or self.batches < 0 or self.warmup < 0:
            raise UserError("every and effort must be at least 1, batches and warmup at least 0", "give other -o")

    def supports(self, problem: Problem) -> Support:
        if problem.protocol.steps < self.warmup + self.every:
            return Support.no(
                f"{problem.protocol.steps} steps end before the first step of the weights, which comes after "
                f"{self.warmup} of warm-up and {self.every} more; give -o warmup=0 or more steps"
            )
        if self.levels == 2 and not self.level(problem).trains:
            return Support.no("levels=2 trains a head, and a probe solves it instead; give -o level_two=tuned")
        model = problem.task.build_model()
        size = sum(parameter.numel() for parameter in model.parameters())
        largest = getattr(self.make_solver(torch.optim.Adam(model.parameters())), "largest", size)
        if size > largest:
            return Support.no(f"the {self.solver} solver is for {largest} parameters at most, and there are {size}")
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        protocol, level, model = problem.protocol, self.level(problem), problem.task.build_model()
        optimizer = torch.optim.Adam(model.parameters())  # to ask solvers what they cost
        size = sum(parameter.numel() for parameter in model.parameters())
        estimator = self.estimator(optimizer, optimizer if level.trains else None)
        cost = estimator.cost(level.kind, problem.num_objectives, size, size)
        beside, train, valid = level.rows(problem)
        updates = (protocol.steps - self.warmup) // self.every
        tries = updates + (min(RETRIES, updates) if cost.may_fail else 0)
        an_update = cost.pretrain + (cost.train * train + cost.valid * valid) / protocol.batch_size
        steps = protocol.steps * 3 * (1 + beside / protocol.batch_size)
        return steps + tries * an_update + problem.adaptation_cost

    def level(self, problem: Problem) -> type[LevelTwo]:
        """The level II of this run; with levels=2 its head trains along, so the protocol's choice is a tuned one."""
        if self.levels == 2 and self.level_two in ("protocol", "tuned"):
            return LEVELS_TWO["joint"]
        if self.horizon:
            return LEVELS_TWO["probe"]
        return of_mode(problem.protocol.mode) if self.level_two == "protocol" else LEVELS_TWO[self.level_two]

    def make_solver(self, optimizer: torch.optim.Optimizer) -> tapweight.solvers.Solver:
        """The solver for the level whose optimiser is given."""
        return tapweight.solvers.by_name(self.solver, optimizer=optimizer, damping=self.damping, effort=self.effort)

    def estimator(self, pretrain: torch.optim.Optimizer, finetune: torch.optim.Optimizer | None) -> tapweight.Estimator:
        """What gives dF/dλ; `finetune` is level II's optimiser, where it is trained and not solved."""
        if self.horizon:
            return ThroughTraining(pretrain, self.horizon)
        return tapweight.Implicit(
            finetune_solver=self.make_solver(finetune) if finetune is not None and self.levels == 3 else None,
            pretrain_solver=self.make_solver(pretrain),
            last_step=self.last_step,
            levels=self.levels,
            normalise=self.normalise,
            batches=self.batches or None,
        )

    def begin(self, run: OnlineRun) -> State:
        problem, pretrainer = run.problem, run.trial.pretrainer
        level = self.level(problem)(problem, pretrainer, self.gamma)
        weights = tapweight.ObjectiveWeights(
            problem.objectives,
            parametrisation=self.parametrisation,
            scaled=self.parametrisation == "mirror",
            lr=self.weight_lr or None,
        )
        learner = tapweight.WeightLearner(
            level.pretraining,
            level.task,
            weights,
            estimator=self.estimator(pretrainer.optimizer, level.optimizer),
            every=self.every,
            warmup=self.warmup,
            retries=RETRIES,
            patience=None,
        )
        return {"learner": learner, "level": level, "failure": "there was none"}

    def due(self, step: int) -> bool:
        return False  # it looks at the levels, between steps

    def weigh(self, state: State, look: Look) -> Tensor:
        return state["learner"].weights.values

    def advance(self, run: OnlineRun) -> None:
        learner, level = run.state["learner"], run.state["level"]
        run.use(learner.weights.values)
        run.step(self)
        with run.problem.meter.phase("adaptation"):
            level.step()
        if learner.due(run.trial.step):
            with run.problem.meter.phase("hypergradient"):
                self._update(run, learner, level)

    def _update(self, run: OnlineRun, learner: tapweight.WeightLearner, level: LevelTwo) -> None:
        # Batches beyond the step's own are those of the steps to come: drawn from the same named seeds.
        step, pretrainer = run.trial.step, run.trial.pretrainer
        batches = [pretrainer.draw_batch(step - 1 + i) for i in range(learner.estimator.batches)]
        before = learner.weights.values.numpy()
        found = learner.update(batches, level.train_batches(), level.valid_batches())
        for attempt in learner.attempts:
            level.bill(attempt.passes)
            if attempt.failure is not None:
                run.state["failure"] = str(attempt.failure)
                run.record(step, before, failure=str(attempt.failure), damping=attempt.damping)
        if found is not None:
            values = learner.weights.values.numpy()
            more = {"hypergradient": found.gradient.tolist(), "valid": found.valid_loss}
            run.record(step, values, losses=run.losses.tolist(), **more)

    def result(self, run: OnlineRun) -> WeightSchedule:
        if run.state["learner"].weights.updates == 0:
            raise Diverged(f"no update of the weights succeeded; the last reason: {run.state['failure']}")
        return super().result(run)

    def note(self, state: State) -> dict[str, Any]:
        learner = state["learner"]
        damping = float(getattr(learner.estimator, "damping", 0.0))
        return {"updates": learner.weights.updates, "failed_solves": learner.failures, "damping": damping}


@dataclass
class UnrolledHead(Implicit):
    """Two terms of the Neumann series for the pretraining level, one unrolled step of a head for the task level.

    Raghu, Lorraine, Kornblith, McDermott, Duvenaud, "Meta-Learning to Improve Pre-Training", NeurIPS 2021,
    arXiv 2111.01754: r = η Σ_{j ≤ 1} (I − ηH)ʲ v with η the rate of pretraining, v the derivative of the validation
    loss through the head's step; weights moved by Adam every ten steps.
    """

    name: ClassVar[str] = "unrolled_head"
    summary: ClassVar[str] = "implicit differentiation with one unrolled head step (Raghu et al. 2021)"

    every: int = 10
    solver: str = "neumann"
    damping: float = 0.0
    effort: int = 2
    level_two: Literal["protocol", "tuned", "probe", "step"] = "step"
    parametrisation: Literal["evidence", "mirror", "softmax"] = "softmax"

    def make_solver(self, optimizer: torch.optim.Optimizer) -> tapweight.solvers.Solver:
        if self.solver != "neumann":
            return super().make_solver(optimizer)
        rate = float(optimizer.param_groups[0]["lr"])
        return tapweight.solvers.Neumann(self.effort, damping=self.damping, step=rate)
