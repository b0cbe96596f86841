"""Population based training, through Ray Tune."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from hpo_bench.core.meter import Cost
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.records.files import remove_files
from hpo_bench.records.journal import Journal
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.search.pbt_units import CHECKPOINT, recorded_units
from hpo_bench.search.random import draw_simplex
from hpo_bench.search.session import MOST_WORKERS, SideBySide
from hpo_bench.search.trials import best_of


@dataclass
class Pbt(SideBySide, ObjectiveWeightSearch):
    """Ray Tune's PopulationBasedTraining, synchronous and seeded; the result is a schedule of weights.

    Jaderberg et al., "Population Based Training of Neural Networks", 2017, https://arxiv.org/abs/1711.09846 (the
    synchronous form of its appendix A.1). Liaw et al., "Tune", 2018, https://arxiv.org/abs/1807.05118.

    A population of P members is trained in `intervals` pieces of T / intervals steps. After each piece every member is
    adapted and scored on valid; members of the lower quantile copy the encoder and optimiser of a member of the upper
    one and go on under its weights, perturbed: multiplied by exp(spread · N(0, 1)) each and normalised, or drawn anew
    with probability `resample`. Member 0 starts at the centre, the others at uniform draws. A member costs 3 T +
    intervals × one adaptation, and P is what the budget pays for. The result is the schedule of weights along the
    lineage of the member with the best last score.

    Ray Tune's scheduler decides, and members train as trials of every other method do: here, or on whatever machines a
    cluster has. A piece that is lost with its machine is trained again from the end of the one before. A resumed search
    replays the decisions, which depend on the seed and the scores alone, and takes every finished piece from the
    workspace instead of training it (Ray's own Tuner.restore does not restore this scheduler's state).

    Attributes:
        intervals: pieces of continued pretraining, each followed by a score.
        population: P; 0 takes what the budget pays for (a budget of seconds alone needs it).
        quantile: share of the population that is replaced, and that is copied.
        resample: probability of fresh weights instead of perturbed ones.
        spread: standard deviation of a perturbation of log weights.
        workers: members trained side by side.
    """

    name: ClassVar[str] = "pbt"
    summary: ClassVar[str] = "Ray Tune's population based training; finds a schedule (Jaderberg et al. 2017)"

    intervals: int = 4
    population: int = 0
    quantile: float = 0.25
    resample: float = 0.25
    spread: float = 0.2

    def member_cost(self, problem: Problem) -> float:
        """Step-equivalents of one member, at most: 3 T + intervals × adaptation."""
        return 3 * problem.protocol.steps + self.intervals * problem.adaptation_cost

    def members(self, problem: Problem) -> int:
        """P: as given, or what the budget pays for (0 if it does not say)."""
        if self.population or problem.allowance == float("inf"):
            return self.population
        return int(problem.allowance / self.member_cost(problem) + 1e-9)

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ("validation", "trials")

    def supports(self, problem: Problem) -> Support:
        cost, members = self.member_cost(problem), self.members(problem)
        if problem.spec is None:
            return Support.no("this problem cannot be made again in another process (no spec)")
        if (
            not (1 <= self.intervals <= problem.protocol.steps and 1 <= self.workers <= MOST_WORKERS)
            or self.population < 0
        ):
            return Support.no(
                f"intervals={self.intervals}, workers={self.workers}, population={self.population} do not fit "
                f"{problem.protocol.steps} steps"
            )
        if not 0 <= self.quantile <= 0.5 or not 0 <= self.resample <= 1 or self.spread < 0:
            return Support.no("quantile must lie in [0, 0.5], resample in [0, 1], and spread must not be negative")
        if problem.allowance == float("inf") and not self.population:
            return Support.no("a budget of seconds alone does not say how large a population is; give population=8")
        if members < 2 or members * cost > problem.allowance * (1 + 1e-9):
            least = max(members, 2)
            return Support.no(
                f"a member costs {cost:.0f} step-equivalents ({self.intervals} intervals), so {least} members cost "
                f"{least * cost:.0f} and the budget pays for {problem.allowance:.0f}; give --budget "
                f"{math.ceil(least * cost / problem.trial_cost)} or fewer intervals"
            )
        return Support.yes()

    def initial_weights(self, problem: Problem) -> list[list[float]]:
        """The weights (P, K) that members start with: the centre, then uniform draws."""
        size = problem.num_objectives
        draws = [draw_simplex(size, problem.seed, "pbt", member) for member in range(1, self.members(problem))]
        return [weights.tolist() for weights in (np.full(size, 1 / size), *draws)]

    def boundaries(self, problem: Problem) -> list[int]:
        """First steps of the intervals, and T."""
        return [round(index * problem.protocol.steps / self.intervals) for index in range(self.intervals + 1)]

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        with problem.meter.phase("orchestration"):
            from hpo_bench.search.pbt_run import run_population  # imports Ray

            members = self.members(problem)
            if len(journal.trials) < members:
                if len(_last_pieces(recorded_units(journal), self.intervals - 1)) < members:
                    run_population(self, problem, journal)
                self._record_members(problem, journal)
            # Also what a killed process left that had finished the last unit: nobody goes on from a checkpoint now.
            remove_files(journal.workspace / "units", CHECKPOINT)
        return best_of(problem, journal.trials)

    def _record_members(self, problem: Problem, journal: Journal) -> None:
        """Write the members to trials.jsonl: those that came farthest as done, those that time cut short as pruned."""
        lines = recorded_units(journal)
        farthest = max((line["interval"] for line in lines), default=-1)
        if farthest < 0:
            raise UserError("time ended before any member was scored", "give a larger --budget")
        for member in range(len(journal.trials), self.members(problem)):
            own = [line for line in lines if line["trial"] == member]
            if not own:
                own = [{"trial": member, "interval": -1, "pieces": [], "value": None, "cost": Cost().to_json()}]
            last = max(own, key=lambda line: line["interval"])
            state = "pruned" if last["interval"] < farthest else "diverged" if last["value"] is None else "done"
            schedule = merged(last["pieces"] or [[0, self.initial_weights(problem)[member]]])
            journal.record_trial(
                member,
                schedule.final.tolist(),
                last["value"],
                sum((Cost.from_json(line["cost"]) for line in own), Cost()),
                state=state,  # type: ignore[arg-type]
                schedule=schedule.to_json(),
                note={"intervals": last["interval"] + 1, "values": [line["value"] for line in own]},
            )


def merged(pieces: Iterable[list[Any]]) -> WeightSchedule:
    """Pieces [first step, weights] as a schedule; neighbours with the same weights become one."""
    groups = groupby(pieces, key=lambda piece: piece[1])
    return WeightSchedule.from_json([next(group) for _, group in groups])


def _last_pieces(lines: list[dict[str, Any]], interval: int) -> dict[int, dict[str, Any]]:
    """The trajectory's lines of one interval, by member."""
    return {line["trial"]: line for line in lines if line["interval"] == interval}
