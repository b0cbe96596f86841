"""The loop of every method that asks for whole trials: propose weights, train, observe, repeat."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule, on_simplex
from hpo_bench.errors import Doubt, UserError
from hpo_bench.records.journal import Journal, Progress, TrialRecord
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.search.outcome import Outcome, whole_trial
from hpo_bench.search.session import MOST_WORKERS, SideBySide, processes_for


@dataclass
class TrialSearch(SideBySide, ObjectiveWeightSearch):
    """A method that proposes the weights of trial after trial.

    Trials go in batches of `workers` (one, unless trials run side by side): all of a batch are proposed, trained and
    recorded in the order of their numbers, then observed. A proposal may depend on the problem's seed, the trial's
    number and the batches before it, and on nothing else; so a search depends on how many workers there are and not on
    which of them is faster, and a resumed search proposes what an unbroken one would have. Trials that the journal
    holds are observed again and not trained again.

    Attributes:
        workers: trials of a batch, which train side by side in processes of their own, as many as there are cores; 1
            trains in this process.
    """

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ("validation", "trials")

    def supports(self, problem: Problem) -> Support:
        if self.workers < 1:
            return Support.no(f"workers={self.workers} trains nothing; give 1 or more")
        if self.workers > MOST_WORKERS:
            return Support.no(f"workers={self.workers} is more than {MOST_WORKERS}, the most that train side by side")
        if self.workers > 1 and problem.spec is None:
            return Support.no("this problem cannot be made again in another process (no spec); give --workers 1")
        return super().supports(problem)

    def planned_trials(self, problem: Problem) -> int:
        """Trials asked for at most; step-equivalents and seconds are watched while the search runs."""
        return 10**6 if problem.budget.trials is None else int(problem.budget.trials)

    def worst_cost(self, problem: Problem) -> float:
        """Step-equivalents that one trial of this method costs at most."""
        return problem.trial_cost

    @abstractmethod
    def propose(self, problem: Problem, number: int) -> np.ndarray:
        """The weights (K,) of trial `number`, counted from 0."""

    def batch(self, problem: Problem, first: int) -> int:
        """How many trials from number `first` on may be trained side by side before any of them is observed."""
        return self.workers

    def prepare(self, problem: Problem, journal: Journal) -> None:
        """Called once before the first trial."""

    def observe(self, problem: Problem, record: TrialRecord) -> None:
        """Called for every trial of a finished batch in order, also for those of an earlier process."""

    def replay(self, problem: Problem, record: TrialRecord) -> None:
        """Called instead of `propose` for a trial that a killed process recorded before its batch was complete."""

    def note(self, problem: Problem, number: int) -> dict[str, Any]:
        """JSON values that are recorded with trial `number`."""
        return {}

    def train(self, problem: Problem, number: int, weights: np.ndarray) -> Outcome:
        """Train and score one trial in this process."""
        return whole_trial(problem, weights)

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        with ExitStack() as stack:
            train_all = self._trainer(problem, journal, stack)
            with problem.meter.phase("orchestration"):
                self.prepare(problem, journal)
            first = 0
            while True:
                size = self.batch(problem, first)
                known = journal.trials[first : first + size]
                if len(known) < size:
                    train_all(self._proposals(problem, journal.trials, known, size))
                batch = journal.trials[first : first + size]
                with problem.meter.phase("orchestration"):
                    for record in batch:
                        self.observe(problem, record)
                if len(batch) < size:
                    break
                first += size
        return best_of(problem, journal.trials)

    def _proposals(
        self, problem: Problem, records: Sequence[TrialRecord], begun: Sequence[TrialRecord], size: int
    ) -> list[tuple[int, np.ndarray]]:
        """Numbers and weights that complete the batch of `size` trials of which `begun` is recorded already."""
        new = range(len(records), len(records) + self.payable(problem, records, size - len(begun)))
        with problem.meter.phase("orchestration"):
            if new:
                for record in begun:
                    self.replay(problem, record)
            return [(number, self._proposed(problem, number)) for number in new]

    def _proposed(self, problem: Problem, number: int) -> np.ndarray:
        proposal = self.propose(problem, number)
        on_simplex(proposal, problem.num_objectives, self.name)  # trained as it is, recorded as it is
        return np.asarray(proposal)

    def payable(self, problem: Problem, records: Sequence[TrialRecord], wanted: int) -> int:
        """How many of `wanted` further trials the budget pays for, whatever they turn out to cost."""
        counts = [wanted, self.planned_trials(problem) - len(records)]
        spent = problem.meter.snapshot()
        if problem.budget.step_equivalents is not None:
            left = problem.budget.step_equivalents - spent.step_equivalents
            counts.append(int(left / self.worst_cost(problem) + 1e-9))
        if problem.budget.seconds is not None and spent.seconds >= problem.budget.seconds:
            counts.append(0)
        return max(0, min(counts))

    def _trainer(self, problem: Problem, journal: Journal, stack: ExitStack) -> Callable[[list], None]:
        """A function that trains and records a batch of proposals (number, weights)."""

        def record(number: int, weights: np.ndarray, outcome: Outcome) -> None:
            note = {**self.note(problem, number), **outcome.note}
            for doubt in outcome.note.get("doubts", ()):  # a worker's own warnings nobody sees
                warnings.warn(doubt, Doubt, stacklevel=2)
            listed = weights.tolist()
            journal.record_trial(number, listed, outcome.value, outcome.cost, state=outcome.state, note=note)
            done = problem.budget.fraction(number + 1, problem.meter.snapshot())
            journal.report(Progress(f"trial {number + 1}", done, listed, outcome.value))

        if self.workers == 1 and not self.ray_address:

            def one_by_one(proposals: list[tuple[int, np.ndarray]]) -> None:
                for number, weights in proposals:
                    record(number, weights, self.train(problem, number, weights))

            return one_by_one

        from hpo_bench.search.trial_crew import TrialCrew

        paid = min(self.planned_trials(problem), problem.allowance / self.worst_cost(problem) + 1e-9)
        processes = processes_for(self.workers, int(min(paid, MOST_WORKERS)), self.ray_address)
        crew = TrialCrew(problem, journal, self, processes, stack)

        def side_by_side(proposals: list[tuple[int, np.ndarray]]) -> None:
            crew.run(proposals, record)

        return side_by_side


def best_of(problem: Problem, records: Sequence[TrialRecord]) -> SearchResult:
    """The finished trial with the best valid score; the earlier one where two are equal.

    Raises:
        Diverged: no trial ended with a score.
        UserError: no trial was made.
    """
    if not records:
        told = "no trial was made: the budget pays for none, or the method asks for none"
        raise UserError(told, "give a larger --budget")
    best: TrialRecord | None = None
    for record in records:
        if record.state != "done" or record.value is None:
            continue
        if best is None or best.value is None or problem.metric.better(record.value, best.value):
            best = record
    if best is None or best.value is None:
        raise Diverged("no trial ended with a score, see trials.jsonl")
    schedule = WeightSchedule.from_json(best.schedule) if best.schedule else WeightSchedule.constant(best.weights)
    return SearchResult(schedule, best.value)
