"""Weights that change within one continued pretraining: the loop that every online method shares."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from hpo_bench.core.adaptation import Adapted
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.core.valid_gradient import ValidGradient
from hpo_bench.records.journal import Journal
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.search.online_run import AS_SEARCHED, STATE, Look, OnlineRun, State

Need = Literal["gradients", "after", "valid_gradient", "along"]


@dataclass
class OnlineSearch(ObjectiveWeightSearch):
    """A method that gives the weights of a step and looks at the step, in one continued pretraining.

    Write `begin` and `weigh`, and `observe` if the method looks at a step once it is made. All that changes during a
    run is in the `State` that `begin` returns: a dict of tensors on the CPU, JSON values, and objects with `state_dict`
    and `load_state_dict`. The suite owns the loop, saves that state, goes on from it after a kill bit-identically,
    bills what the method asks for, and records the trajectory.

    Weights that leave the simplex (non-negative, of any sum) are recorded normalised; the step is made with their sum
    as it is, which the optimiser sees (Adam hardly does). Heads get their objective's weight like the encoder.

    Attributes:
        every: steps between two looks; in between the weights stay.
        retrain_with: what the result is retrained with: the last weights (final), their mean over the run's later part
            (average), the weights of every step (schedule), or the whole method once more under fresh seeds (again).
    """

    needs: ClassVar[tuple[Need, ...]] = ()  # what `weigh` and `observe` ask a `Look` for: the cost is told by it
    average_from: ClassVar[float] = 0.5  # share of the run after which weights enter their mean

    every: int = 1
    retrain_with: Literal["final", "average", "schedule", "again"] = "average"

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        kinds = {"validation": "valid_gradient", "gradients": "gradients"}
        return tuple(kind for kind, need in kinds.items() if need in cls.needs) or ("losses",)

    @abstractmethod
    def begin(self, run: OnlineRun) -> State:
        """The state before the first step."""

    @abstractmethod
    def weigh(self, state: State, look: Look) -> Tensor:
        """The weights (K,) of the step that is about to be made, whose losses are known: at least 0, of any sum.

        Weights that sum to 0 or are not finite are not used: those of the step before stay.
        """

    def observe(self, state: State, look: Look) -> None:
        """Look at the step just made, from which `weigh` had its losses."""

    def due(self, step: int) -> bool:
        """Does the method look at this step (0, 1, …)?"""
        return step % self.every == 0

    def advance(self, run: OnlineRun) -> None:
        """One step or more of training; a method that trains branches overrides this."""
        run.step(self)

    def note(self, state: State) -> dict[str, Any]:
        """JSON values that are recorded with the run's trial."""
        return {}

    def supports(self, problem: Problem) -> Support:
        if problem.num_objectives < 2:
            return Support.no("there is a single objective, so there is nothing to weight")
        if self.every < 1:
            return Support.no(f"every={self.every} is no number of steps; give 1 or more")
        cost = self.expected_cost(problem)
        if problem.allowance < cost:
            return Support.no(
                f"one run costs at most {cost:.0f} step-equivalents, {cost / problem.trial_cost:.1f} trials, and the "
                f"budget pays for {problem.allowance:.0f}; give a larger --budget"
            )
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        """Step-equivalents of the run, at most."""
        looks = sum(self.due(step) for step in range(problem.protocol.steps))
        return 3 * problem.protocol.steps + looks * self.look_cost(problem) + problem.adaptation_cost

    def look_cost(self, problem: Problem) -> float:
        """Step-equivalents of what one look asks for, beside the step itself."""
        twice = problem.protocol.in_parts and "gradients" not in self.needs  # see `OnlineRun`
        prices = {
            "gradients": 2.0 * (problem.num_objectives - 1),  # K backward passes in place of one
            "after": 1.0,
            "valid_gradient": ValidGradient.cost(problem.task, problem.protocol.batch_size),
            "along": 2.0,
        }
        return twice + sum(prices[need] for need in self.needs)

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        if not journal.trials:  # else a run that was killed later: its state has been cleared away
            run = OnlineRun(self, problem, journal)
            run.train()
            run.finish(self.result(run), self.note(run.state))
        (journal.workspace / STATE).unlink(missing_ok=True)
        (record,) = journal.trials
        assert record.value is not None
        assert record.schedule is not None
        schedule = WeightSchedule.from_json(record.schedule)
        return SearchResult(schedule, record.value, journal.workspace / AS_SEARCHED)

    def result(self, run: OnlineRun) -> WeightSchedule:
        """The weights to retrain with."""
        if self.retrain_with == "final":
            return WeightSchedule.constant(run.path.final)
        if self.retrain_with == "average":
            steps = run.trial.step
            return WeightSchedule.constant(run.path.mean(int(self.average_from * steps), steps))
        return run.path

    def retrain(self, problem: Problem, found: SearchResult) -> Adapted:
        if self.retrain_with != "again":
            return super().retrain(problem, found)
        run = OnlineRun(self, problem)
        run.train()
        return run.trial.validate()
