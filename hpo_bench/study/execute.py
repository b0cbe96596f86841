"""The runs of a study side by side: Ray hands out CPUs, and each run is a process of its own."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import Timeout

from hpo_bench.core.cores import cores
from hpo_bench.errors import UserError
from hpo_bench.records import scratch
from hpo_bench.records.files import locked, own_folder
from hpo_bench.records.run_folder import FINISHED, unwritable
from hpo_bench.search.room import Room, fits
from hpo_bench.study.places import Abroad, AtHome, asked, folders_of
from hpo_bench.study.plan import PlannedRun

_POLL = 0.5  # seconds between two looks at the clock
_LOOK = 2.0  # seconds between two looks at what there is
_UNITS = (("GPU", 1, "GPUs"), ("memory", 2**30, "GB of memory"))


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `seconds` by the study's clock."""

    run: PlannedRun
    status: str
    error: str | None
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status in FINISHED


class Watcher(Protocol):
    """Who is told."""

    def started(self, run: PlannedRun) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def tick(self) -> None: ...


@dataclass(frozen=True)
class Cluster:
    """Where the runs are done: at `address` of a Ray cluster that answers within `timeout` seconds; empty: here."""

    address: str = ""
    timeout: float = 60.0


def execute(
    runs: list[PlannedRun], workspace: Path, workers: int, watcher: Watcher, cluster: Cluster | None = None
) -> list[Outcome]:
    """Do all runs in their order, `workers` CPUs at a time; one that fails does not stop the others.

    A run whose method itself works in several processes gets as many of the CPUs. One whose worker or machine dies is
    gone on with elsewhere, from what it had recorded.

    Raises:
        UserError: the same study is running in `workspace`, or no cluster answers.
    """
    from hpo_bench.search.session import processes_for, ray_session

    cluster = cluster or Cluster()
    try:
        with prepared(workspace):
            workers = processes_for(workers, sum(_cpus(run, workers) for run in runs), cluster.address)
            environment = _environment(workers)  # before Ray adds its own
            with ray_session(workspace, workers, cluster.address, cluster.timeout):
                place = Abroad(workspace) if cluster.address else AtHome(workspace, environment)
                return _Execution(runs, workers, place, watcher, cluster).all()
    except OSError as error:
        raise unwritable(workspace, error) from error


@contextmanager
def prepared(workspace: Path) -> Iterator[None]:
    """The study's own folder is there, locked, and free of what a killed process left.

    Raises:
        UserError: the same study is running, or part of the folder is a link.
    """
    for folder in folders_of(workspace):
        own_folder(folder)
    try:
        with locked(workspace / ".lock"):
            scratch.clear(workspace)
            yield
    except Timeout as error:
        raise UserError(f"this study is running already in {workspace.parent.parent}", "wait for it") from error


@dataclass
class _InHand:
    """A run that was handed out, with the CPUs that it holds; `stuck`: since when no machine could take it."""

    run: PlannedRun
    need: int
    start: float
    stuck: float | None = None


class _Execution:
    """All runs of a study, handed out in their order."""

    def __init__(
        self, runs: list[PlannedRun], workers: int, place: AtHome | Abroad, watcher: Watcher, cluster: Cluster
    ) -> None:
        self._waiting, self._workers, self._free = list(reversed(runs)), workers, workers
        self._place, self._watcher, self._cluster = place, watcher, cluster
        self._room = Room(workers, cluster.address, cluster.timeout)
        self._running: dict[Any, _InHand] = {}
        self._tries: Counter[str] = Counter()
        self._looked = -math.inf
        self.outcomes: list[Outcome] = []

    def all(self) -> list[Outcome]:
        """Do them.

        Raises:
            UserError: the cluster has had no processor for too long.
        """
        import ray

        try:
            while self._waiting or self._running:
                while self._waiting and (need := _cpus(self._waiting[-1], self._workers)) <= self._free:
                    self._hand_out(self._waiting.pop(), need)
                ready = ray.wait(list(self._running), timeout=_POLL)[0] if self._running else []
                for stream in ready:
                    self._hear(stream)
                self._look_round()
                self._watcher.tick()
        finally:
            for stream in self._running:
                ray.cancel(stream, force=True)
            self._place.close()
        return self.outcomes

    def _hand_out(self, run: PlannedRun, need: int) -> None:
        self._tries[run.title] += 1
        self._watcher.started(run)
        start = time.monotonic()
        try:
            self._running[self._place.start(run, need)] = _InHand(run, need, start)
            self._free -= need
        except Timeout:
            self._ended(run, start, f"another process is running in {run.config.folder}")
        except UserError as error:
            self._ended(run, start, str(error))

    def _hear(self, stream: Any) -> None:
        """What a run's worker says next, if only that it is no more."""
        import ray

        from hpo_bench.search.session import TRIES, lost_errors, readable

        hand = self._running[stream]
        run = hand.run
        try:
            told = self._place.hear(run, ray.get(next(stream)))
            if told is not None:
                self._let_go(stream)
                self._ended(run, hand.start, told["error"], told["status"])
        except (StopIteration, *lost_errors()) as error:  # type: ignore[misc]
            self._let_go(stream)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if self._tries[run.title] >= TRIES:
                self._ended(run, hand.start, f"its worker process died {TRIES} times: {reason}")
            else:
                warnings.warn(f"{run.title}: its worker died, it is gone on with elsewhere: {reason}", stacklevel=2)
                self._waiting.append(run)
        except ray.exceptions.RayError as error:
            self._let_go(stream)
            self._ended(run, hand.start, str(readable(error)))

    def _look_round(self) -> None:
        """Say what cannot be had. A run that no machine is large enough for waits for one as long as others go on."""
        import ray

        now, cluster = time.monotonic(), self._cluster
        if now - self._looked < _LOOK:
            return
        self._looked = now
        if not self._room.look():
            return
        for hand in self._running.values():
            if fits(asked(hand.run, hand.need)):
                hand.stuck = None
            elif hand.stuck is None:
                hand.stuck = now
                if cluster.address:
                    warnings.warn(f"{hand.run.title}: {_no_machine(hand)}; it waits for one to join", stacklevel=2)
        if cluster.address and any(hand.stuck is None for hand in self._running.values()):
            return
        patience = cluster.timeout if cluster.address else 0.0  # nobody joins this machine
        for stream, hand in list(self._running.items()):
            if hand.stuck is not None and now - hand.stuck >= patience:
                ray.cancel(stream, force=True)
                self._let_go(stream)
                self._ended(hand.run, hand.start, _no_machine(hand))

    def _let_go(self, stream: Any) -> None:
        hand = self._running.pop(stream)
        self._free += hand.need
        self._place.let_go(hand.run)

    def _ended(self, run: PlannedRun, start: float, error: str | None, status: str = "failed") -> None:
        self.outcomes.append(Outcome(run, status, error, time.monotonic() - start))
        self._watcher.finished(self.outcomes[-1])


def _no_machine(hand: _InHand) -> str:
    amounts = asked(hand.run, hand.need)
    told = [f"{amounts['CPU']:g} CPUs"]
    told += [f"{amounts[name] / unit:g} {word}" for name, unit, word in _UNITS if name in amounts]
    return f"no machine has what it asks for, {' and '.join(told)}"


def _environment(workers: int) -> dict[str, str]:
    """What a run's process sees: its share of the cores, and no Ray but its own."""
    threads = {"HPO_BENCH_THREADS": str(max(1, cores() // workers))}
    return threads | {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}


def _cpus(run: PlannedRun, workers: int) -> int:
    if run.resources.cpus is not None:
        return min(run.resources.cpus, workers)
    return min(getattr(run.config.searcher, "workers", 1), workers)
