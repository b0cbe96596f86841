"""What a search is handed: a task with train and valid, a protocol, a budget, a meter. No test split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_bench.core.adaptation import Adapted, adapt
from hpo_bench.core.budget import Budget
from hpo_bench.core.checkpoint import load_state, pack_state, save_state, unpack_state
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule, on_simplex
from hpo_bench.tasks.base import Metric, Task


@dataclass(frozen=True)
class ProblemSpec:
    """How to make the same problem again in another process; plain values only."""

    task: str
    task_options: dict[str, Any]
    protocol: dict[str, Any]
    seed: int
    device: str = "cpu"


@dataclass
class Problem:
    """One search problem: find objective weights (K,) with a good valid score within a budget.

    All trials of a problem share their random numbers (they depend on `seed` alone), so two weightings differ by their
    weights and nothing else.
    """

    task: Task
    protocol: Protocol
    seed: int
    budget: Budget
    meter: CostMeter
    spec: ProblemSpec | None = field(default=None)

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.task.objectives

    @property
    def num_objectives(self) -> int:
        return len(self.task.objectives)

    @property
    def metric(self) -> Metric:
        return self.task.metric

    @property
    def trial_cost(self) -> float:
        """Step-equivalents of one whole trial, at most."""
        return self.protocol.trial_cost(len(self.task.train), len(self.task.valid))

    @property
    def adaptation_cost(self) -> float:
        """Step-equivalents of one adaptation with its valid scores, at most."""
        return self.protocol.adaptation_cost(len(self.task.train), len(self.task.valid))

    @property
    def allowance(self) -> float:
        """The whole budget in step-equivalents (a budget of n trials is n times a trial's cost); inf if by time."""
        limits = [self.budget.step_equivalents or float("inf")]
        if self.budget.trials is not None:
            limits.append(self.budget.trials * self.trial_cost)
        return min(limits)

    def start_trial(self) -> Trial:
        """A trial at the base checkpoint."""
        return Trial(self)


class Trial:
    """Restart from the base, continued pretraining under given weights, adaptation, valid score.

    It can be advanced piece by piece, saved, loaded and scored on the way: PBT and successive halving need that.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.pretrainer = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)

    @property
    def step(self) -> int:
        """Steps of continued pretraining done."""
        return self.pretrainer.step_number

    @property
    def finished(self) -> bool:
        return self.step >= self.problem.protocol.steps

    def advance(self, weights: object, steps: int) -> list[float]:
        """Train `steps` more steps (not beyond T) under constant weights (K,); returns the last losses (K,)."""
        until = min(self.step + steps, self.problem.protocol.steps)
        schedule = WeightSchedule.constant(on_simplex(weights, self.problem.num_objectives))
        return self.pretrainer.run(schedule, until).tolist()

    def follow(self, schedule: WeightSchedule) -> list[float]:
        """Train to step T under a schedule; returns the last losses (K,), NaN where the schedule asks for no step."""
        if not schedule.pretrains:
            return [float("nan")] * self.problem.num_objectives
        return self.pretrainer.run(schedule, self.problem.protocol.steps).tolist()

    def validate(self) -> Adapted:
        """Adapt a copy of the encoder as it is now and score it on valid; the trial itself is left as it was."""
        problem = self.problem
        return adapt(
            problem.task, self.pretrainer.model.get_submodule("encoder"), problem.protocol, problem.seed, problem.meter
        )

    def save(self, path: Path) -> None:
        """Write the state (safetensors)."""
        save_state(path, self.pretrainer.state_dict())

    def load(self, path: Path) -> None:
        """Go on from a saved state, bit-identically."""
        self.pretrainer.load_state_dict(load_state(path, self.problem.task.device))

    def packed(self) -> bytes:
        """The state as the content of a file of `save`."""
        return pack_state(self.pretrainer.state_dict())

    def unpack(self, content: bytes) -> None:
        """Go on from what `packed` gave, or from the content of a file of `save`, bit-identically."""
        self.pretrainer.load_state_dict(unpack_state(content, self.problem.task.device))
