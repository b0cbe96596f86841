"""The runs of a study side by side: Ray hands out CPUs, and each run is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
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
from hpo_bench.run.config import make_method
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


def execute(runs: list[PlannedRun], workspace: Path, workers: int, watcher: Watcher) -> list[Outcome]:
    """Do all runs in their order, `workers` CPUs at a time; one that fails does not stop the others.

    A run whose method itself works in several processes gets as many of the CPUs.

    Raises:
        UserError: the same study is running in `workspace`.
    """
    from hpo_bench.search.session import processes_for, ray_session

    try:
        with prepared(workspace):
            workers = processes_for(workers, sum(_cpus(run, workers) for run in runs))
            environment = _environment(workers)  # before Ray adds its own
            with ray_session(workspace, workers):
                return _all(runs, workspace, workers, environment, watcher)
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


def _all(
    runs: list[PlannedRun], workspace: Path, workers: int, environment: dict[str, str], watcher: Watcher
) -> list[Outcome]:
    import ray

    remote = ray.remote(max_retries=0)(supervise)
    waiting, free = list(reversed(runs)), workers
    running: dict[Any, tuple[PlannedRun, int, float]] = {}
    outcomes = []
    while waiting or running:
        while waiting and (need := _cpus(waiting[-1], workers)) <= free:
            run = waiting.pop()
            order = {"words": run.words, "study": os.getpid()}
            log = workspace / "logs" / f"{run.task}-{run.method}-seed-{run.config.seed}.log"
            future = remote.options(num_cpus=need).remote(order, str(log.resolve()), environment, os.getcwd())
            running[future] = (run, need, time.monotonic())
            free -= need
            watcher.started(run)
        ended, _ = ray.wait(list(running), timeout=_POLL)
        for future in ended:
            run, need, start = running.pop(future)
            free += need
            try:
                told = ray.get(future)
            except ray.exceptions.RayError as error:
                told = {"status": "failed", "error": f"its worker process died: {error}"}
            outcomes.append(Outcome(run, told["status"], told["error"], time.monotonic() - start))
            watcher.finished(outcomes[-1])
        watcher.tick()
    return outcomes


def supervise(order: dict[str, Any], log: str, environment: dict[str, str], folder: str) -> dict[str, Any]:
    """In a Ray worker: one run in a process of its own, which ends with this one (its stdin closes)."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hpo_bench.study.one"]
    with (
        open(log, "w", encoding="utf-8") as told,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            env=environment,
            cwd=folder,
            text=True,
            start_new_session=True,  # Ctrl-C is the study's business
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        lines = process.stdout.read().splitlines()  # to the end; stdin stays open meanwhile
        code = process.wait()
    if code == 0 and lines:
        return json.loads(lines[-1])
    last = (Path(log).read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1]
    reason = f"killed by signal {-code}, out of memory?" if code < 0 else last
    return {"status": "failed", "error": f"{reason} (see {log})"}


def _environment(workers: int) -> dict[str, str]:
    """What a run's process sees: its share of the cores, and no Ray but its own."""
    threads = {"HPO_BENCH_THREADS": str(max(1, cores() // workers))}
    return threads | {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}


def _cpus(run: PlannedRun, workers: int) -> int:
    method = make_method(run.config.method, run.config.method_options)
    return min(getattr(method, "workers", 1), workers)
