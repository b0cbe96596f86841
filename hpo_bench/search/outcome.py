"""One whole trial: trained from the base, scored, and how it ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo_bench.core.meter import Cost
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import doubts
from hpo_bench.records.journal import TrialState


@dataclass(frozen=True)
class Outcome:
    """How one trial ended; `cost` is the trial's alone."""

    state: TrialState
    value: float | None
    cost: Cost
    note: dict[str, Any] = field(default_factory=dict)


def whole_trial(problem: Problem, weights: np.ndarray) -> Outcome:
    """Train one trial from the base to step T under constant weights (K,) and score it."""
    return follow_and_score(problem, WeightSchedule.constant(weights))


def follow_and_score(problem: Problem, schedule: WeightSchedule) -> Outcome:
    """Train one trial from the base under a schedule and score it."""
    before = problem.meter.snapshot()
    value, state = None, "diverged"
    found: list[str] = []
    with doubts(found.append), suppress(Diverged):
        trial = problem.start_trial()
        trial.follow(schedule)
        value, state = trial.validate().value, "done"
    note = {"doubts": found} if found else {}
    return Outcome(state, value, problem.meter.snapshot() - before, note)  # type: ignore[arg-type]
