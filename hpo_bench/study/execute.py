"""The runs of a study side by side: Ray hands out CPUs, and each run is a process of its own."""

from __future__ import annotations

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
from hpo_bench.study.places import Abroad, AtHome
from hpo_bench.study.plan import PlannedRun

_POLL = 0.5  # seconds between two looks at the clock


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
                return _all(runs, workers, place, watcher)
    except OSError as error:
        raise unwritable(workspace, error) from error


@contextmanager
def prepared(workspace: Path) -> Iterator[None]:
    """The study's own folder is there, locked, and free of what a killed process left.

    Raises:
        UserError: the same study is running, or part of the folder is a link.
    """
    for folder in (workspace.parent, workspace, workspace / "logs"):
        own_folder(folder)
    try:
        with locked(workspace / ".lock"):
            scratch.clear(workspace)
            yield
    except Timeout as error:
        raise UserError(f"this study is running already in {workspace.parent.parent}", "wait for it") from error


def _all(runs: list[PlannedRun], workers: int, place: AtHome | Abroad, watcher: Watcher) -> list[Outcome]:
    import ray

    from hpo_bench.search.session import TRIES, lost_errors

    waiting, free = list(reversed(runs)), workers
    running: dict[Any, tuple[PlannedRun, int, float]] = {}
    outcomes = []
    tries: Counter[str] = Counter()

    def ended(run: PlannedRun, told: dict[str, Any], start: float) -> None:
        outcomes.append(Outcome(run, told["status"], told["error"], time.monotonic() - start))
        watcher.finished(outcomes[-1])

    try:
        while waiting or running:
            while waiting and (need := _cpus(waiting[-1], workers)) <= free:
                run = waiting.pop()
                tries[run.title] += 1
                watcher.started(run)
                try:
                    running[place.start(run, need)] = run, need, time.monotonic()
                    free -= need
                except (Timeout, UserError) as error:
                    reason = (
                        f"another process is running in {run.config.folder}" if isinstance(error, Timeout) else error
                    )
                    ended(run, {"status": "failed", "error": str(reason)}, time.monotonic())
            ready = ray.wait(list(running), timeout=_POLL)[0] if running else []
            for stream in ready:
                run, need, start = running[stream]
                told: dict[str, Any] | None = None
                try:
                    told = place.hear(run, ray.get(next(stream)))  # type: ignore[arg-type]
                    if told is None:
                        continue
                except (StopIteration, *lost_errors()) as error:  # type: ignore[misc]
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                    if tries[run.title] < TRIES:
                        warnings.warn(
                            f"{run.title}: its worker died, it is gone on with elsewhere: {reason}", stacklevel=2
                        )
                    else:
                        told = {"status": "failed", "error": f"its worker process died {TRIES} times: {reason}"}
                except ray.exceptions.RayError as error:
                    told = {"status": "failed", "error": str(error)}
                del running[stream]
                free += need
                place.let_go(run)
                if told is None:
                    waiting.append(run)
                else:
                    ended(run, told, start)
            watcher.tick()
    finally:
        for stream in running:
            ray.cancel(stream, force=True)
        place.close()
    return outcomes


def _environment(workers: int) -> dict[str, str]:
    """What a run's process sees: its share of the cores, and no Ray but its own."""
    threads = {"HPO_BENCH_THREADS": str(max(1, cores() // workers))}
    return threads | {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}


def _cpus(run: PlannedRun, workers: int) -> int:
    if run.resources.cpus is not None:
        return min(run.resources.cpus, workers)
    return min(getattr(run.config.searcher, "workers", 1), workers)
