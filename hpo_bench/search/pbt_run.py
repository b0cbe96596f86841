"""Training a population: units of work, their bill, their records, and the end. Imported only to run it: imports Ray.

A unit of work is one interval of one lineage (see `pbt_units`). A finished unit lies in `workspace/units`: a result
(JSON) and, as long as somebody may go on from it, a checkpoint. So a resumed search finds what was done. Workers are
handed the checkpoint that they go on from, and hand back their own: the driver alone reads and writes these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from hpo_bench.core.cost import Cost
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.errors import UserError
from hpo_bench.records.files import own_folder, read_bytes, write_whole
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.bills import bill_path, bill_worker, claim_lost_bills
from hpo_bench.search.crew import Crew, Done, Piece, in_this_process
from hpo_bench.search.pbt_population import Population
from hpo_bench.search.pbt_units import read_unit, recorded_units, unit_key
from hpo_bench.search.session import processes_for
from hpo_bench.search.workers import parcel

if TYPE_CHECKING:
    from hpo_bench.search.pbt import Pbt


def train_unit(
    problem: Problem, weights: list[float], steps: int, parent: bytes | None
) -> tuple[float | None, bytes | None]:
    """Go on from a checkpoint, or from the base, under constant weights (K,): (valid score, checkpoint).

    Both are None if a loss is not finite.
    """
    meter = problem.meter
    try:
        with meter.phase("orchestration"):
            trial = problem.start_trial()
            if parent is not None:
                trial.unpack(parent)
        trial.advance(weights, steps)
        value = trial.validate().value
        with meter.phase("orchestration"):
            return value, trial.packed()
    except Diverged:
        return None, None


class Units:
    """The units of a run: found in its files, or trained; billed and recorded once."""

    def __init__(self, method: Pbt, problem: Problem, journal: Journal, stack: ExitStack) -> None:
        self._problem, self._journal = problem, journal
        self._folder = own_folder(journal.workspace / "units")
        self._lines = {(line["trial"], line["interval"]): line for line in recorded_units(journal)}
        self._members, self._boundaries = method.members(problem), method.boundaries(problem)
        self._crew: Crew | None = None
        self.processes = 1
        if method.workers > 1 or method.ray_address:
            self.processes = processes_for(method.workers, self._members, method.ray_address)
            self._crew = Crew(problem, journal, method, self.processes, stack)
        self.claim()

    def claim(self, *, clocked: bool = False) -> None:
        """Bill what was lost; what a finished unit cost is billed when its result is recorded."""

        def billed(unit: str) -> bool:
            return (self._folder / f"{unit}.json").exists()

        claim_lost_bills(self._journal, billed, self.processes, clocked=clocked)

    @property
    def in_time(self) -> bool:
        limit = self._problem.budget.seconds
        return limit is None or self._problem.meter.snapshot().seconds < limit

    def of_interval(self, interval: int, lineages: list[list[list[Any]]]) -> list[dict[str, Any]] | None:
        """The units (P,) at the ends of lineages of pieces [first step, weights]; None if time ended before."""
        keys = [unit_key(pieces) for pieces in lineages]
        found = {key: read_unit(self._folder, key) for key in keys}
        wanted = {key: pieces for key, pieces in zip(keys, lineages, strict=True) if found[key] is None}
        for member, key in enumerate(keys):
            if found[key] is not None:
                self._enter(member, interval, found[key], clocked=False)
        if not self.in_time:
            return None
        for key, pieces in wanted.items():
            if self._cannot_go_on(pieces):
                found[key] = self._keep(key, pieces, None, None, Cost())
        wanted = {key: pieces for key, pieces in wanted.items() if found[key] is None}
        for done in self._train(interval, wanted):
            key = done.piece.unit
            value, checkpoint = done.result
            found[key] = self._keep(key, wanted[key], value, checkpoint, done.cost, billed=done.billed)
            for member in [member for member, other in enumerate(keys) if other == key]:
                self._enter(member, interval, found[key], clocked=True)
            if not self.in_time:
                break
        for member, key in enumerate(keys):
            if found[key] is not None:
                self._enter(member, interval, found[key], clocked=False)
        return None if None in found.values() else [found[key] for key in keys]  # type: ignore[misc]

    def _cannot_go_on(self, pieces: list[list[Any]]) -> bool:
        """Did the unit before diverge?"""
        before = read_unit(self._folder, unit_key(pieces[:-1])) if len(pieces) > 1 else None
        return before is not None and before["value"] is None

    def _train(self, interval: int, wanted: dict[str, list[list[Any]]]) -> Iterator[Done]:
        first, end = self._boundaries[interval : interval + 2]
        checkpoints: dict[str, Any] = {}  # sent once, though several members may go on from it
        if wanted and self._crew is not None:
            self._crew.start()
        for pieces in wanted.values():
            parent = unit_key(pieces[:-1])
            if len(pieces) > 1 and parent not in checkpoints:
                content = self._checkpoint(parent)
                checkpoints[parent] = content if self._crew is None else parcel(content)
        work = [
            Piece(key, (pieces[-1][1], end - first, checkpoints.get(unit_key(pieces[:-1]))))
            for key, pieces in wanted.items()
        ]
        if self._crew is None:
            return in_this_process(self._problem, train_unit, work)
        return self._crew.do(train_unit, work)

    def _checkpoint(self, key: str) -> bytes:
        path = self._folder / f"{key}.safetensors"
        try:
            return read_bytes(path)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} is gone, and members go on from it", "move the run's folder away and start it again"
            ) from error

    def _keep(
        self,
        key: str,
        pieces: list[list[Any]],
        value: float | None,
        checkpoint: bytes | None,
        cost: Cost,
        *,
        billed: bool = False,
    ) -> dict[str, Any]:
        """Write a finished unit down, its result last; `billed`: the run's own meter counted its cost."""
        unit = {"unit": key, "pieces": pieces, "value": value, "cost": cost.to_json(), "billed": billed}
        if checkpoint is not None:
            write_whole(self._folder / f"{key}.safetensors", checkpoint)
        write_whole(self._folder / f"{key}.json", json.dumps(unit).encode())
        return unit

    def _enter(self, member: int, interval: int, unit: dict[str, Any] | None, *, clocked: bool) -> None:
        """Bill a unit and record it as a member's, unless that was done; `clocked`: as for `bill_worker`."""
        if unit is None or (member, interval) in self._lines:
            return
        twin = any(line["unit"] == unit["unit"] for line in self._lines.values())  # of the same lineage: trained once
        if not (twin or unit.get("billed")):
            bill_worker(self._problem.meter, Cost.from_json(unit["cost"]), self.processes, clocked=clocked)
        start, weights = unit["pieces"][-1]
        spent = self._problem.meter.snapshot()
        # The line says what was spent: whoever is killed before the bill is saved finds it there.
        line = {"trial": member, "interval": interval, **unit, "spent": spent.to_json()}
        self._journal.record_weights(start, weights, **line)
        self._lines[member, interval] = line
        self._journal.save_bill()
        bill_path(self._journal.workspace, unit["unit"]).unlink(missing_ok=True)
        self._clear_away(interval)
        trials = spent.step_equivalents / self._problem.trial_cost
        done = self._problem.budget.fraction(trials, spent)
        self._journal.report(Progress(f"member {member + 1}, interval {interval + 1}", done, weights, unit["value"]))

    def _clear_away(self, interval: int) -> None:
        """Remove checkpoints of the intervals before one that all members have finished: none can go on from them."""
        if all((member, interval) in self._lines for member in range(self._members)):
            for (_, done), line in self._lines.items():
                if done < interval:
                    (self._folder / f"{line['unit']}.safetensors").unlink(missing_ok=True)


def run_population(method: Pbt, problem: Problem, journal: Journal) -> None:
    """Train the whole population; every unit is in the journal's trajectory afterwards, unless time ended."""
    population = Population(
        method.initial_weights(problem),
        problem.seed,
        quantile=method.quantile,
        resample=method.resample,
        spread=method.spread,
        better="max" if problem.metric.higher_is_better else "min",
    )
    boundaries = method.boundaries(problem)
    with ExitStack() as stack:
        units = Units(method, problem, journal, stack)
        try:
            for interval in range(method.intervals):
                lineages = [
                    [*member.config["pieces"], [boundaries[interval], member.config["weights"]]]
                    for member in population.members
                ]
                scored = units.of_interval(interval, lineages)
                if scored is None:
                    break
                if interval + 1 < method.intervals:
                    population.scored(scored)
        finally:
            units.claim(clocked=True)
