"""Pieces of work in other processes, on this machine or on a cluster: what is lost is done again, results are values.

A piece of work is a Ray task, so Ray finds it a free CPU on whatever machines there are at the moment. It yields what
it has cost about once a second, and what came out of it as its last word. Nothing but that travels: the driver alone
writes files, and machines of a cluster need no common folder. Where a worker or its machine dies, the driver bills what
the piece had cost and hands it out again, `TRIES` times in all. An error of the program itself is raised as it is.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from hpo_bench.core.meter import Cost
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.errors import UserError
from hpo_bench.records.journal import Journal
from hpo_bench.records.schema import read_bill
from hpo_bench.search.bills import bill_path, bill_worker, keep_bill
from hpo_bench.search.room import Room
from hpo_bench.search.session import TRIES, SideBySide, lost_errors, ray_session, readable
from hpo_bench.search.workers import Work, attend

_PATIENCE = 60  # seconds without a word from any worker until the driver says that it waits
_POLL = 1.0  # seconds between two looks at the cluster


@dataclass(frozen=True)
class Piece:
    """A piece of work; `unit` names it on bills."""

    unit: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """What came out of a piece. `billed`: the run's own meter has counted the cost already."""

    piece: Piece
    result: Any
    cost: Cost
    billed: bool = False


def in_this_process(problem: Problem, work: Work, pieces: Iterable[Piece]) -> Iterator[Done]:
    """Do pieces one after the other, here."""
    for piece in pieces:
        before = problem.meter.snapshot()
        result = work(problem, *piece.arguments)
        yield Done(piece, result, problem.meter.snapshot() - before, billed=True)


class Crew:
    """Worker processes; Ray starts with the first piece of work and ends with `stack`."""

    def __init__(self, problem: Problem, journal: Journal, where: SideBySide, processes: int, stack: ExitStack) -> None:
        self._problem, self._journal, self._where, self._stack = problem, journal, where, stack
        self.processes = processes
        self._order: Any = None  # the remote function, and how workers come by the problem
        self._given: dict[str, int] = {}  # how often a unit was handed out
        self._nodes: set[str] = set()
        self._room = Room(processes, where.ray_address, where.ray_timeout)
        self._looked = self._waited = False

    def do(self, work: Work, pieces: Iterable[Piece]) -> Iterator[Done]:
        """Do pieces side by side; each is yielded when it is done.

        Raises:
            UserError: a piece lost `TRIES` workers, or the cluster has no processor any more; what a worker raised.
        """
        import ray

        waiting = deque(pieces)
        running: dict[Any, Piece] = {}
        if waiting:
            self.start()
        heard = time.monotonic()
        try:
            while waiting or running:
                while waiting and len(running) < self.processes:
                    piece = waiting.popleft()
                    running[self._hand_out(work, piece)] = piece
                ready, _ = ray.wait(list(running), timeout=_POLL)
                heard = time.monotonic() if ready else heard
                for stream in ready:
                    done = self._hear(stream, running, waiting)
                    if done is not None:
                        yield done
                self._look_round(time.monotonic() - heard)
        finally:
            for stream in running:
                ray.cancel(stream, force=True)

    def _hand_out(self, work: Work, piece: Piece) -> Any:
        self._given[piece.unit] = self._given.get(piece.unit, 0) + 1
        function, source = self._order
        return function.remote(work, source, self._problem.spec, self.processes, piece.arguments)

    def _hear(self, stream: Any, running: dict[Any, Piece], waiting: deque[Piece]) -> Done | None:
        """A worker's next word: who it is, what it has cost so far, or what came out."""
        import ray

        piece = running[stream]
        try:
            word = ray.get(next(stream))
        except (StopIteration, *lost_errors()) as error:  # type: ignore[misc]
            del running[stream]
            self._lose(piece, error)
            waiting.appendleft(piece)
            return None
        except ray.exceptions.RayError as error:
            del running[stream]
            raise readable(error) from error
        if isinstance(word, dict):
            self._meet(word)
        elif isinstance(word, Cost):
            keep_bill(self._journal.workspace, piece.unit, word)
        else:
            del running[stream]
            result, cost = word
            return Done(piece, result, cost)
        return None

    def _lose(self, piece: Piece, error: BaseException) -> None:
        """Bill what was spent on a piece whose worker died, and say so.

        Raises:
            UserError: it was not the first, but the last.
        """
        path = bill_path(self._journal.workspace, piece.unit)
        if path.exists():
            cost = read_bill(path)
            bill_worker(self._problem.meter, cost, self.processes)
            self._journal.lost += cost.step_equivalents
            path.unlink()
            self._journal.save_bill()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if self._given[piece.unit] >= TRIES:
            remedy = "give fewer --workers if memory ran out; the same command goes on where this one ended"
            raise UserError(f"a worker process died {TRIES} times over the same piece of work: {reason}", remedy)
        warnings.warn(f"a worker process died, its piece of work is done again: {reason}", stacklevel=2)

    def _meet(self, hardware: dict[str, Any]) -> None:
        node = hardware["node"]
        if node not in self._nodes:
            self._nodes.add(node)
            self._journal.record_node(hardware)

    def _look_round(self, silence: float) -> None:
        """After so many seconds without a word: is there still somebody to do the work?

        Raises:
            UserError: the cluster has had no processor for too long.
        """
        if silence >= _POLL or not self._looked:
            self._looked = True
            self._room.look()
        if silence > _PATIENCE and not self._waited:
            self._waited = True
            warnings.warn(
                f"no worker has said a word for {_PATIENCE} s: CPUs are busy, or Ray installs; waiting", stacklevel=2
            )

    def start(self) -> None:
        if self._order is not None:
            return
        import ray

        spec, where = self._problem.spec, self._where
        assert spec is not None  # supports() said so
        self._stack.enter_context(
            ray_session(self._journal.workspace, self.processes, where.ray_address, where.ray_timeout)
        )
        there = ray.cluster_resources()
        gpus = share_of_gpus(spec, self.processes, there.get("GPU", 0.0))
        # max_calls=0: a process that used a GPU is kept too; max_retries=0: see the module's docstring.
        function = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=0)(attend)
        source = [ray.put(self._problem.task)] if where.ray_address else []  # in a list: fetched by who lacks it
        self._order = function.options(num_returns="streaming"), source


def share_of_gpus(spec: ProblemSpec, processes: int, there: float) -> float:
    """What a worker asks Ray for: workers share the accelerators, each of them as many, so that all work at once.

    A worker is on one accelerator: three workers on two ask for a half, since of two thirds only two would be placed.

    Raises:
        UserError: there is none, or the device names one: Ray says which a worker sees.
    """
    if not spec.device.startswith("cuda"):
        return 0
    if not there:
        raise UserError("Ray knows of no GPU", "start its nodes with --num-gpus, or give --device cpu")
    if spec.device not in ("cuda", "cuda:0"):
        number = spec.device.partition(":")[2]
        remedy = f"give --device cuda; CUDA_VISIBLE_DEVICES={number} before the command chooses the card"
        raise UserError(f"workers take the cards that Ray gives them, and not {spec.device}", remedy)
    return 1 / math.ceil(processes / max(1, int(there)))
