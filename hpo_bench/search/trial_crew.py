"""Whole trials side by side: recorded in the order of their numbers, kept as soon as they are done."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hpo_bench.core.meter import Cost
from hpo_bench.core.problem import Problem
from hpo_bench.records.files import own_folder, read_object, write_whole
from hpo_bench.records.journal import Journal
from hpo_bench.records.schema import Bill, Part, TrialState, check
from hpo_bench.search.bills import bill_path, bill_worker, claim_lost_bills
from hpo_bench.search.crew import Crew, Piece
from hpo_bench.search.outcome import Outcome, whole_trial
from hpo_bench.search.session import SideBySide

Record = Callable[[int, np.ndarray, Outcome], None]


class Finished(Part):
    """A trial that is done and waits for one before it, as it stands in `workspace/finished`."""

    number: Annotated[int, Field(ge=0)]
    weights: list[float]
    state: TrialState
    value: float | None
    cost: Bill
    note: dict[str, Any]


class TrialCrew:
    """A crew for trials. One that is done before its turn is kept in a file, and found there after a kill."""

    def __init__(self, problem: Problem, journal: Journal, where: SideBySide, processes: int, stack: ExitStack) -> None:
        self._problem, self._journal = problem, journal
        self._crew = Crew(problem, journal, where, processes, stack)
        self._finished = own_folder(journal.workspace / "finished")
        recorded = len(journal.trials)
        claim_lost_bills(journal, lambda unit: int(unit) < recorded or self._file(int(unit)).exists(), processes)

    def run(self, proposals: list[tuple[int, np.ndarray]], record: Record) -> None:
        """Train (number, weights) side by side; record them in the given order as soon as that allows."""
        with self._problem.meter.phase("orchestration"):
            kept = [self._kept(number, weights) for number, weights in proposals]
            done = {number: (one, False) for (number, _), one in zip(proposals, kept, strict=True) if one is not None}
            turn = self._record_in_turn(proposals, 0, done, record)
            pieces = [Piece(f"{number:05d}", (weights,)) for number, weights in proposals if number not in done]
            for finished in self._crew.do(whole_trial, pieces):
                number = int(finished.piece.unit)
                outcome: Outcome = finished.result
                done[number] = (outcome, True)
                if proposals[turn][0] != number:
                    self._keep(number, finished.piece.arguments[0], outcome)
                turn = self._record_in_turn(proposals, turn, done, record)
                bill_path(self._journal.workspace, finished.piece.unit).unlink(missing_ok=True)

    def _record_in_turn(
        self,
        proposals: list[tuple[int, np.ndarray]],
        turn: int,
        done: dict[int, tuple[Outcome, bool]],
        record: Record,
    ) -> int:
        """Record from place `turn` on what is done; returns the place of the first that is not."""
        while turn < len(proposals) and proposals[turn][0] in done:
            number, weights = proposals[turn]
            outcome, clocked = done[number]
            bill_worker(self._problem.meter, outcome.cost, self._crew.processes, clocked=clocked)
            record(number, weights, outcome)
            self._file(number).unlink(missing_ok=True)
            turn += 1
        return turn

    def _file(self, number: int) -> Path:
        return self._finished / f"{number:05d}.json"

    def _keep(self, number: int, weights: np.ndarray, outcome: Outcome) -> None:
        content = {"number": number, "weights": weights.tolist(), **asdict(outcome), "cost": outcome.cost.to_json()}
        write_whole(self._file(number), json.dumps(content).encode())

    def _kept(self, number: int, weights: np.ndarray) -> Outcome | None:
        """What an earlier process found for this trial, if it was of the same weights."""
        try:
            content = read_object(self._file(number))
        except FileNotFoundError:
            return None
        check(Finished, content, str(self._file(number)))
        if content["weights"] != weights.tolist():
            return None
        return Outcome(content["state"], content["value"], Cost.from_json(content["cost"]), content["note"])
