"""The one interface behind which every way of setting objective weights stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from hpo_bench.core.adaptation import Adapted
    from hpo_bench.core.problem import Problem
    from hpo_bench.core.schedule import WeightSchedule
    from hpo_bench.records.journal import Journal


@dataclass(frozen=True)
class Support:
    """Can a method solve a problem? No comes with a reason."""

    ok: bool
    reason: str = ""

    @classmethod
    def yes(cls) -> Support:
        return cls(True)

    @classmethod
    def no(cls, reason: str) -> Support:
        return cls(False, reason)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        schedule: the weights to retrain with; constant for most methods, PBT's winning schedule for PBT.
        value: the valid score that the search saw for them.
        as_searched: a checkpoint of the adapted model that a single-run method ended with, if it has one.
    """

    schedule: WeightSchedule
    value: float
    as_searched: Path | None = field(default=None)

    @property
    def weights(self) -> np.ndarray:
        """The final weights (K,)."""
        return self.schedule.final


class ObjectiveWeightSearch(ABC):
    """A way of finding objective weights.

    A method is a dataclass: its fields are its options (`--option name=value` on the command line), with defaults. It
    is registered as an entry point of the group `hpo_bench.methods`. Lifecycle: `supports(problem)`, then one call of
    `search(problem, journal)`. After a kill, the same call is made again with a journal that remembers what was
    recorded: a search continues from there, and never trains again what the journal has.

    A method trains through `problem.start_trial()` alone, so everything is billed, and every trial shares its random
    numbers with every other.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for `hpo-bench list`, with the source

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        """What it goes by, for `hpo-bench list`: "validation", "gradients" of every objective, whole "trials"."""
        return ("validation",)

    def supports(self, problem: Problem) -> Support:
        """Yes, or no with a reason that tells the user what to change."""
        if problem.allowance < problem.trial_cost:
            cost = problem.trial_cost
            return Support.no(
                f"the budget pays for {problem.allowance:.0f} step-equivalents and one trial costs {cost:.0f}; "
                f"give --budget 1 or more"
            )
        return Support.yes()

    def retrain(self, problem: Problem, found: SearchResult) -> Adapted:
        """Train with what was found, on a problem with a fresh seed and a meter of its own; adapted, not yet tested."""
        trial = problem.start_trial()
        trial.follow(found.schedule)
        return trial.validate()

    @abstractmethod
    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        """Search within the budget and return the best weights found.

        Every trial is recorded in the journal when it ends, every change of weights within a run as trajectory.
        """
