"""TapWeight: the weights are learned during one continued pretraining, by implicit differentiation.

Source: Zhang, Somayajula, Xie, "TapWeight: Reweighting Pretraining Objectives for Task-Adaptive Pretraining"
(arXiv 2410.10006), Algorithm 1. The hypergradient is the library `tapweight`; all training is the core's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

import tapweight
from hpo_bench.core.adaptation import AdaptedModel, FineTuner
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem, Trial
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.tasks.base import Labelled

CHECKPOINT_EVERY = 50  # steps: at most this much is trained again after a kill


@dataclass
class TapWeight(ObjectiveWeightSearch):
    """A pretraining step, a fine-tuning step with the proximal term, and every few steps a step of the weights.

    Attributes:
        solver: of both inverse-Hessian products (`hpo-bench list` names them).
        damping: δ added to the Hessians' diagonal by the solvers that invert them. A solver that meets an indefinite
            Hessian fails: that update of the weights is left out, and the next one has four times the damping.
        last_step: how the K directional derivatives are taken: central, forward, jvp or gradients.
        levels: 3, or 2 for the bilevel ablation.
        every: pretraining steps for one step of the weights.
        warmup: steps before the first one.
        gamma: γ of the proximal term.
        weight_lr: learning rate of the weights' logits (Adam).
        batches: pretraining batches averaged in one hypergradient.
        normalise: each objective's gradient at unit length (no longer the exact derivative).
        average: retrain with the mean of the weights over the second half, instead of the last ones.
    """

    name: ClassVar[str] = "tapweight"
    summary: ClassVar[str] = "learned in one run by implicit differentiation (Zhang et al. 2024, arXiv 2410.10006)"

    solver: str = "identity"
    damping: float = 0.1
    last_step: Literal["central", "forward", "jvp", "gradients"] = "central"
    levels: Literal[2, 3] = 3
    every: int = 5
    warmup: int = 20
    gamma: float = 0.1
    weight_lr: float = 0.05
    batches: int = 1
    normalise: bool = False
    average: bool = True

    def __post_init__(self) -> None:
        if self.solver not in tapweight.solvers.names():
            raise unknown_name("solver", self.solver, tapweight.solvers.names())
        if self.normalise and self.last_step != "gradients":
            raise UserError("normalise needs the norm of every objective's gradient", "give -o last_step=gradients too")
        if self.every < 1 or self.batches < 1 or self.warmup < 0:
            raise UserError("every and batches must be at least 1, warmup at least 0", "see --option")

    def supports(self, problem: Problem) -> Support:
        if problem.num_objectives < 2:
            return Support.no("there is a single objective, so there is nothing to weight")
        if problem.protocol.steps < self.warmup + self.every:
            return Support.no(
                f"{problem.protocol.steps} steps end before the first step of the weights, which comes after "
                f"{self.warmup} of warm-up and {self.every} more; give -o warmup=0 or more steps"
            )
        solver, size = self._solver_and_size(problem)
        largest = getattr(solver, "largest", size)
        if size > largest:
            return Support.no(f"the {self.solver} solver is for {largest} parameters at most, and there are {size}")
        cost = self.expected_cost(problem)
        if problem.allowance < cost:
            return Support.no(
                f"one run costs about {cost:.0f} step-equivalents, {cost / problem.trial_cost:.1f} trials, and the "
                f"budget pays for {problem.allowance:.0f}; give a larger --budget"
            )
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        """Step-equivalents of the run, at most."""
        protocol, valid = problem.protocol, len(problem.task.valid)
        updates = (protocol.steps - self.warmup) // self.every
        share = protocol.adapt_batch_size / protocol.batch_size
        solver, size = self._solver_and_size(problem)
        a_solve = solver.cost(size)
        a_step = 3 + 3 * share
        an_update = 3 * valid / protocol.batch_size + 2 * self.batches + a_solve * (self.batches + share)
        return protocol.steps * a_step + updates * an_update + problem.adaptation_cost

    def _solver_and_size(self, problem: Problem) -> tuple[tapweight.solvers.Solver, int]:
        """The solver, to be asked what it costs, and the number of parameters of θ."""
        parameters = list(problem.task.build_model().parameters())
        solver = tapweight.solvers.by_name(self.solver, optimizer=torch.optim.Adam(parameters), damping=self.damping)
        return solver, sum(parameter.numel() for parameter in parameters)

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        state = _State(self, problem, journal)
        while not state.trial.finished:
            state.advance(min(problem.protocol.steps, state.trial.step + CHECKPOINT_EVERY))
        if state.weights.updates == 0:
            reason = journal.trajectory[-1].get("failure", "there was none") if journal.trajectory else "there was none"
            raise Diverged(f"no update of the weights succeeded; the last reason: {reason}")
        weights = state.weights.average if self.average else state.weights.values
        value, checkpoint = state.finish(journal, weights.tolist())
        return SearchResult(WeightSchedule.constant(weights.numpy()), value, checkpoint)


class _State:
    """Everything that changes during the run; saved whole every `CHECKPOINT_EVERY` steps."""

    def __init__(self, method: TapWeight, problem: Problem, journal: Journal) -> None:
        self.method, self.problem, self.journal = method, problem, journal
        self.path = journal.workspace / "state.safetensors"
        updates = (problem.protocol.steps - method.warmup) // method.every
        self.weights = tapweight.ObjectiveWeights(
            problem.objectives, lr=method.weight_lr, average_from=updates // 2 + 1
        )
        self.trial: Trial = problem.start_trial()
        self.pretrainer = self.trial.pretrainer
        self.tuner = FineTuner(
            problem.task, problem.protocol, self.pretrainer.model.get_submodule("encoder"), problem.seed, problem.meter
        )
        self.pretraining = tapweight.Pretraining(self.pretrainer.model, problem.task.objective_losses)
        self.finetuning = tapweight.Finetuning(self.tuner.model, self._loss, gamma=method.gamma, batch_size=_rows)
        self.damping, self.failures = method.damping, 0
        if self.path.exists():
            self._load()

    def _loss(self, model: torch.nn.Module, batch: tuple[Labelled, Tensor]) -> Tensor:
        assert isinstance(model, AdaptedModel)
        split, index = batch
        outputs = model.outputs(self.problem.task, split.inputs, index)
        return self.problem.task.task_loss(outputs, split.labels[index])

    def advance(self, until: int) -> None:
        """Algorithm 1 up to step `until`, then a checkpoint."""
        method, meter = self.method, self.problem.meter
        losses = torch.full((self.problem.num_objectives,), float("nan"))
        while self.trial.step < until:
            batch = self.pretrainer.draw_batch(self.trial.step)
            with meter.phase("pretraining"):
                losses = self.pretrainer.step(self.weights.values.to(self.problem.task.device), batch)
            with meter.phase("adaptation"):
                index = self.tuner.draw_batch(self.tuner.step_number)
                self.tuner.step(index, lambda: self.finetuning.add_proximal_grad_(self.pretraining))
            step = self.trial.step
            if step > method.warmup and (step - method.warmup) % method.every == 0:
                with meter.phase("hypergradient"):
                    self._update_weights(batch, losses)
        self.pretrainer.check(losses)
        self.journal.save_bill()  # first: what a state holds must have been paid for
        save_state(self.path, self._state())

    def _update_weights(self, batch: Any, losses: Tensor) -> None:
        task, method, step = self.problem.task, self.method, self.trial.step
        # Batches beyond the step's own are those of the steps to come: drawn from the same named seeds.
        batches = [batch, *(self.pretrainer.draw_batch(step + i) for i in range(method.batches - 1))]
        rows = torch.arange(len(task.valid), device=task.device)
        train_rows = self.tuner.draw_batch(self.tuner.step_number - 1)
        try:
            found = tapweight.hypergradient(
                self.pretraining,
                self.finetuning,
                self.weights.values.to(task.device),
                pretrain_batches=batches,
                train_batches=[(task.train, train_rows)],
                valid_batches=[(task.valid, part) for part in rows.split(task.eval_batch_size)],
                finetune_solver=self._solver(self.tuner.optimizer) if method.levels == 3 else None,
                pretrain_solver=self._solver(self.pretrainer.optimizer),
                last_step=method.last_step,
                levels=method.levels,
                normalise=method.normalise,
            )
        except tapweight.HypergradientFailure as failure:
            self._bill(failure.passes, len(train_rows), self.problem.meter)
            self._leave_out(step, failure)
            return
        self._bill(found.passes, len(train_rows), self.problem.meter)
        weights = self.weights.update(found.weights)
        self.journal.record_weights(
            step, weights.tolist(), losses=losses.tolist(), hypergradient=found.weights.tolist(), valid=found.valid_loss
        )
        share = step / self.problem.protocol.steps
        message = f"step {step} of {self.problem.protocol.steps}"
        if step % CHECKPOINT_EVERY == 0:
            self.journal.report(Progress(message, share, weights.tolist()))

    def _solver(self, optimizer: torch.optim.Optimizer) -> tapweight.solvers.Solver:
        return tapweight.solvers.by_name(self.method.solver, optimizer=optimizer, damping=self.damping)

    def _leave_out(self, step: int, failure: tapweight.HypergradientFailure) -> None:
        """Record a failed update; the weights stay, and the next update is damped more (Levenberg and Marquardt)."""
        self.journal.record_weights(step, self.weights.values.tolist(), failure=str(failure), damping=self.damping)
        self.damping, self.failures = 4 * self.damping, self.failures + 1

    def _bill(self, passes: Mapping[str, int], train_rows: int, meter: CostMeter) -> None:
        """Passes are counted in batches by the library, in samples by the meter."""
        protocol, valid = self.problem.protocol, len(self.problem.task.valid)
        parts = -(-valid // self.problem.task.eval_batch_size)
        for level, samples, kind in (
            ("pretrain", protocol.batch_size, "pretraining"),
            ("train", train_rows, "adaptation"),
            ("valid", valid / parts, "adaptation"),
        ):
            forward, backward = passes.get(f"{level}_forward", 0), passes.get(f"{level}_backward", 0)
            meter.passes(samples, forward=forward, backward=backward, kind=kind)

    def finish(self, journal: Journal, weights: list[float]) -> tuple[float, Any]:
        """Adapt the encoder that the run ended with, as every trial does; its valid score and its checkpoint."""
        checkpoint = journal.workspace / "as_searched.safetensors"
        if not journal.trials:
            adapted = self.trial.validate()
            save_state(checkpoint, {"model": dict(adapted.model.state_dict())})
            note = {"updates": self.weights.updates, "failed_updates": self.failures}
            journal.record_trial(0, weights, adapted.value, self.problem.meter.snapshot(), note=note)
        value = journal.trials[0].value
        assert value is not None
        return value, checkpoint

    def _state(self) -> dict[str, Any]:
        return {
            "pretrainer": self.pretrainer.state_dict(),
            "tuner": self.tuner.state_dict(),
            "weights": self.weights.state_dict(),
            "damping": self.damping,
            "failures": self.failures,
        }

    def _load(self) -> None:
        state = load_state(self.path, self.problem.task.device)
        self.pretrainer.load_state_dict(state["pretrainer"])
        self.tuner.load_state_dict(state["tuner"])
        self.weights.load_state_dict(state["weights"])
        self.damping, self.failures = state["damping"], state["failures"]
        self.journal.truncate_trajectory(lambda line: line["step"] <= self.trial.step)


def _rows(batch: tuple[Labelled, Tensor]) -> int:
    return len(batch[1])
