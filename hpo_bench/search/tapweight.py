"""TapWeight: the weights are learned during one continued pretraining, by implicit differentiation.

Source: Zhang, Somayajula, Xie, "TapWeight: Reweighting Pretraining Objectives for Task-Adaptive Pretraining"
(arXiv 2410.10006), Algorithm 1. The hypergradient is the library `tapweight`; all training is the core's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

import tapweight
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.device import to_device
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem, Trial
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.search.tapweight_levels import LEVELS_TWO, OF_MODE, LevelTwo

CHECKPOINT_EVERY = 50  # steps: at most this much is trained again after a kill
STATE, AS_SEARCHED = "state.safetensors", "as_searched.safetensors"
MOST_FAILURES = 6  # solves of one run that are made again with more damping: 4^6 times the damping given


@dataclass
class TapWeight(ObjectiveWeightSearch):
    """A pretraining step, a fine-tuning step with the proximal term, and every few steps a step of the weights.

    Attributes:
        solver: of the inverse-Hessian products (`hpo-bench list` names them).
        damping: δ added to the Hessians' diagonal by the solvers that invert them. A solver that meets an indefinite
            Hessian fails: it is tried again with four times the damping, which then stays.
        effort: iterations of conjugate gradients, terms of the Neumann series, rank of Nyström.
        last_step: how the K directional derivatives are taken: jvp (exact), central (differences, for models with an
            operation that has no forward-mode derivative), or gradients (exact, K backward passes).
        levels: 3, or 2 for the bilevel ablation.
        level_two: tuned: a copy of the encoder is fine-tuned beside it; probe: a head is solved exactly at every
            update; protocol: whichever of the two the protocol adapts encoders by.
        every: pretraining steps for one step of the weights.
        warmup: steps before the first one.
        gamma: γ of the proximal term.
        parametrisation: softmax: its logits are moved by Adam; mirror: mirror descent, the gradient over its running
            root mean square.
        weight_lr: step of the logits.
        batches: pretraining batches averaged in one hypergradient; 0: four, or one with a solver that multiplies by
            the Hessian, where each batch costs as much as dozens of steps.
        normalise: each objective's gradient at unit length (no longer the exact derivative).
        average: retrain with the mean of the weights over the second half, instead of the last ones.
    """

    name: ClassVar[str] = "tapweight"
    summary: ClassVar[str] = "learned in one run by implicit differentiation (Zhang et al. 2024, arXiv 2410.10006)"

    solver: str = "identity"
    damping: float = 0.1
    effort: int = 5
    last_step: Literal["jvp", "central", "gradients"] = "jvp"
    levels: Literal[2, 3] = 3
    level_two: Literal["protocol", "tuned", "probe"] = "protocol"
    every: int = 5
    warmup: int = 20
    gamma: float = 0.1
    parametrisation: Literal["softmax", "mirror"] = "mirror"
    weight_lr: float = 0.05
    batches: int = 0
    normalise: bool = False
    average: bool = True

    def __post_init__(self) -> None:
        if self.solver not in tapweight.solvers.names():
            raise unknown_name("solver", self.solver, tapweight.solvers.names())
        if self.normalise and self.last_step != "gradients":
            raise UserError("normalise needs the norm of every objective's gradient", "give -o last_step=gradients too")
        if not all(0 < value < math.inf for value in (self.gamma, self.weight_lr)) or not 0 <= self.damping < math.inf:
            raise UserError("gamma and weight_lr must be positive, damping at least 0, all finite", "see --option")
        if min(self.every, self.effort) < 1 or self.batches < 0 or self.warmup < 0:
            raise UserError("every and effort must be at least 1, batches and warmup at least 0", "see --option")

    def supports(self, problem: Problem) -> Support:
        if problem.num_objectives < 2:
            return Support.no("there is a single objective, so there is nothing to weight")
        if problem.protocol.steps < self.warmup + self.every:
            return Support.no(
                f"{problem.protocol.steps} steps end before the first step of the weights, which comes after "
                f"{self.warmup} of warm-up and {self.every} more; give -o warmup=0 or more steps"
            )
        if self.levels == 2 and self.level(problem).name == "probe":
            return Support.no("levels=2 trains the head along, the probe solves it; give -o level_two=tuned")
        solver, size = self._solver_and_size(problem)
        largest = getattr(solver, "largest", size)
        if size > largest:
            return Support.no(f"the {self.solver} solver is for {largest} parameters at most, and there are {size}")
        cost = self.expected_cost(problem)
        if problem.allowance < cost:
            return Support.no(
                f"one run costs at most {cost:.0f} step-equivalents, {cost / problem.trial_cost:.1f} trials, and the "
                f"budget pays for {problem.allowance:.0f}; give a larger --budget"
            )
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        """Step-equivalents of the run, at most."""
        protocol = problem.protocol
        updates = (protocol.steps - self.warmup) // self.every
        solver, size = self._solver_and_size(problem)
        batches, a_solve = self.pretraining_batches(solver), solver.cost(size)
        beside, judging = self.level(problem).cost(problem, a_solve)
        an_update = judging + batches * (tapweight.last_step_cost(self.last_step, problem.num_objectives) + a_solve)
        again = min(MOST_FAILURES, updates) * an_update if a_solve else 0.0
        return protocol.steps * (3 + beside) + updates * an_update + again + problem.adaptation_cost

    def level(self, problem: Problem) -> type[LevelTwo]:
        """The level II of this run; with levels=2 its head trains along, so the protocol's choice is a tuned one."""
        chosen = OF_MODE[problem.protocol.mode] if self.levels == 3 else OF_MODE["full"]
        return LEVELS_TWO[chosen if self.level_two == "protocol" else self.level_two]

    def pretraining_batches(self, solver: tapweight.solvers.Solver) -> int:
        """How many are averaged in one hypergradient."""
        return self.batches or (1 if solver.cost(1) else 4)

    def _solver_and_size(self, problem: Problem) -> tuple[tapweight.solvers.Solver, int]:
        """The solver, to be asked what it costs, and the number of parameters of θ."""
        parameters = list(problem.task.build_model().parameters())
        return self.make_solver(torch.optim.Adam(parameters), self.damping), sum(
            parameter.numel() for parameter in parameters
        )

    def make_solver(self, optimizer: torch.optim.Optimizer, damping: float) -> tapweight.solvers.Solver:
        """The solver for the level whose optimiser is given."""
        return tapweight.solvers.by_name(self.solver, optimizer=optimizer, damping=damping, effort=self.effort)

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        if not journal.trials:  # else a run that was killed later: its state has been cleared away
            self._learn(problem, journal)
        (journal.workspace / STATE).unlink(missing_ok=True)
        (trial,) = journal.trials
        assert trial.value is not None
        checkpoint = journal.workspace / AS_SEARCHED
        return SearchResult(WeightSchedule.constant(np.asarray(trial.weights)), trial.value, checkpoint)

    def _learn(self, problem: Problem, journal: Journal) -> None:
        """The run, up to its line in trials.jsonl and the adapted model in the workspace."""
        state = _State(self, problem, journal)
        while not state.trial.finished:
            state.advance(min(problem.protocol.steps, state.trial.step + CHECKPOINT_EVERY))
        if state.weights.updates == 0:
            reason = journal.trajectory[-1].get("failure", "there was none") if journal.trajectory else "there was none"
            raise Diverged(f"no update of the weights succeeded; the last reason: {reason}")
        weights = state.weights.average if self.average else state.weights.values
        state.finish(weights.tolist())


class _State:
    """Everything that changes during the run; saved whole every `CHECKPOINT_EVERY` steps."""

    def __init__(self, method: TapWeight, problem: Problem, journal: Journal) -> None:
        self.method, self.problem, self.journal = method, problem, journal
        self.path = journal.workspace / STATE
        updates = (problem.protocol.steps - method.warmup) // method.every
        self.weights = tapweight.ObjectiveWeights(
            problem.objectives,
            parametrisation=method.parametrisation,
            scaled=method.parametrisation == "mirror",
            lr=method.weight_lr,
            average_from=updates // 2 + 1,
        )
        self.trial: Trial = problem.start_trial()
        self.pretrainer = self.trial.pretrainer
        self.level_two = method.level(problem)(problem, self.pretrainer, method.gamma)
        self.damping, self.failures = method.damping, 0
        if self.path.exists():
            self._load()

    def advance(self, until: int) -> None:
        """Algorithm 1 up to step `until`, then a checkpoint."""
        method, meter = self.method, self.problem.meter
        losses = torch.full((self.problem.num_objectives,), float("nan"))
        while self.trial.step < until:
            batch = self.pretrainer.draw_batch(self.trial.step)
            with meter.phase("pretraining"):
                losses = self.pretrainer.step(to_device(self.weights.values.numpy(), self.problem.task.device), batch)
            with meter.phase("adaptation"):
                self.level_two.step()
            step = self.trial.step
            if step > method.warmup and (step - method.warmup) % method.every == 0:
                with meter.phase("hypergradient"):
                    self._update_weights(batch, losses)
        self.pretrainer.check(losses)
        self.journal.save_bill()  # first: what a state holds must have been paid for
        save_state(self.path, self._state())

    def _update_weights(self, batch: Any, losses: Tensor) -> None:
        method, step = self.method, self.trial.step
        # Batches beyond the step's own are those of the steps to come: drawn from the same named seeds.
        count = method.pretraining_batches(self._solver(self.pretrainer.optimizer))
        batches = [batch, *(self.pretrainer.draw_batch(step + i) for i in range(count - 1))]
        found = self._hypergradient(batches)
        if found is None:
            return
        weights = self.weights.update(found.gradient)
        self.journal.record_weights(
            step,
            weights.tolist(),
            losses=losses.tolist(),
            hypergradient=found.gradient.tolist(),
            valid=found.valid_loss,
        )
        share = step / self.problem.protocol.steps
        message = f"step {step} of {self.problem.protocol.steps}"
        if step % CHECKPOINT_EVERY == 0:
            self.journal.report(Progress(message, share, weights.tolist()))

    def _hypergradient(self, batches: list[Any]) -> tapweight.Hypergradient | None:
        """dF/dλ; a solver that fails is damped more and tried again (Levenberg and Marquardt), the failure recorded.

        None, and this update left out, once a run's failures are used up or more damping cannot help.
        """
        weights, method = self.weights.values.to(self.problem.task.device), self.method
        while True:
            try:
                return self.level_two.hypergradient(
                    batches,
                    weights,
                    self._solver,
                    method.levels,
                    last_step=method.last_step,
                    normalise=method.normalise,
                )
            except tapweight.HypergradientFailure as failure:
                self.journal.record_weights(
                    self.trial.step, self.weights.values.tolist(), failure=str(failure), damping=self.damping
                )
                self.failures += 1
                if not isinstance(failure, tapweight.SolverFailure) or self.failures > MOST_FAILURES:
                    return None
                self.damping *= 4

    def _solver(self, optimizer: torch.optim.Optimizer) -> tapweight.solvers.Solver:
        return self.method.make_solver(optimizer, self.damping)

    def finish(self, weights: list[float]) -> None:
        """Adapt the encoder that the run ended with, as every trial does, and record it."""
        adapted = self.trial.validate()
        save_state(self.journal.workspace / AS_SEARCHED, {"model": dict(adapted.model.state_dict())})
        note = {"updates": self.weights.updates, "failed_solves": self.failures, "damping": self.damping}
        self.journal.record_trial(0, weights, adapted.value, self.problem.meter.snapshot(), note=note)

    def _state(self) -> dict[str, Any]:
        return {
            "pretrainer": self.pretrainer.state_dict(),
            "level_two": self.level_two.state_dict(),
            "weights": self.weights.state_dict(),
            "damping": self.damping,
            "failures": self.failures,
        }

    def _load(self) -> None:
        state = load_state(self.path, self.problem.task.device)
        self.pretrainer.load_state_dict(state["pretrainer"])
        self.level_two.load_state_dict(state["level_two"])
        self.weights.load_state_dict(state["weights"])
        self.damping, self.failures = state["damping"], state["failures"]
        self.journal.truncate_trajectory(lambda line: line["step"] <= self.trial.step)
