"""The loop of every method that asks for whole trials: propose weights, train, observe, repeat."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.records.journal import Journal, Progress, TrialRecord
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult


@dataclass
class TrialSearch(ObjectiveWeightSearch):
    """A method that proposes the weights of trial after trial.

    Trials that a journal already holds are observed again and not trained again; a proposal may depend on the problem's
    seed, the trial's number and what was observed before it, and on nothing else, so a resumed search proposes what an
    unbroken one would have.
    """

    def planned_trials(self, problem: Problem) -> int:
        """How many trials the budget pays for."""
        return problem.budget.affordable_trials(problem.trial_cost)

    @abstractmethod
    def propose(self, problem: Problem, number: int) -> np.ndarray:
        """The weights (K,) of trial `number` = 0, 1, …"""

    def prepare(self, problem: Problem, journal: Journal) -> None:
        """Called once before the first trial."""

    def observe(self, problem: Problem, record: TrialRecord) -> None:
        """Called for every finished trial in order, also for those of an earlier process."""

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        self.prepare(problem, journal)
        records = journal.trials
        for record in records:
            self.observe(problem, record)
        planned = self.planned_trials(problem)
        while len(records) < planned:
            if problem.budget.fraction(len(records), problem.meter.snapshot()) >= 1:
                break
            record = self.run_trial(problem, journal, len(records))
            records.append(record)
            self.observe(problem, record)
        return best_of(problem, records)

    def run_trial(self, problem: Problem, journal: Journal, number: int) -> TrialRecord:
        """Train and score one trial, and record it."""
        weights = self.propose(problem, number)
        before = problem.meter.snapshot()
        try:
            trial = problem.start_trial()
            trial.follow(WeightSchedule.constant(weights))
            value, state = trial.validate().value, "done"
        except Diverged:
            value, state = None, "diverged"
        after = problem.meter.snapshot()
        journal.record_trial(number, weights.tolist(), value, after - before, state=state)
        done = problem.budget.fraction(number + 1, after)
        journal.report(Progress(f"trial {number + 1}", done, weights.tolist(), value))
        return journal.trials[-1]


def best_of(problem: Problem, records: list[TrialRecord]) -> SearchResult:
    """The finished trial with the best valid score; the earlier one where two are equal.

    Raises:
        UserError: no trial finished.
    """
    best: TrialRecord | None = None
    for record in records:
        if record.state == "done" and record.value is not None:
            if best is None or problem.metric.better(record.value, best.value):  # type: ignore[arg-type]
                best = record
    if best is None:
        raise UserError("no trial ended with a score", "see trials.jsonl; a lower learning rate may keep losses finite")
    assert best.value is not None
    schedule = WeightSchedule.from_json(best.schedule) if best.schedule else WeightSchedule.constant(best.weights)
    return SearchResult(schedule, best.value)
