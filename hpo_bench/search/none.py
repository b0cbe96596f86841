"""No continued pretraining: the first question is whether it pays at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.records.journal import Journal
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.search.outcome import follow_and_score
from hpo_bench.search.trials import best_of


@dataclass
class NoPretraining(ObjectiveWeightSearch):
    """The base is adapted as it is; every weight is zero."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "no continued pretraining: the base alone is adapted to the task"

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ()

    def supports(self, problem: Problem) -> Support:
        if problem.allowance < problem.adaptation_cost:
            return Support.no(
                f"the budget pays for {problem.allowance:.0f} step-equivalents and one adaptation costs "
                f"{problem.adaptation_cost:.0f}; give --budget 1 or more"
            )
        return Support.yes()

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        nothing = WeightSchedule.nothing(problem.num_objectives)
        if not journal.trials:
            outcome = follow_and_score(problem, nothing)
            pieces = nothing.to_json()
            weights = nothing.final.tolist()
            journal.record_trial(0, weights, outcome.value, outcome.cost, state=outcome.state, schedule=pieces)
        return best_of(problem, journal.trials)
