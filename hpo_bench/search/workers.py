"""Work in other processes: the Ray session, problems made again from their spec, and the bill that comes back.

Seconds. Work in P processes side by side is billed so that

    (training + evaluation) / P + orchestration = wall clock

at every moment when no worker is in the middle of something. Training and evaluation are added up over the processes,
as in any of them alone; orchestration is what else the clock shows: starting Ray, set-up in workers, copies, waiting.
The driver's own clock runs as orchestration all along, so `bill_worker` takes from it what workers did meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench import registry
from hpo_bench.core.budget import Budget
from hpo_bench.core.cores import cores
from hpo_bench.core.device import memory_told, prepare_process, resolve_device
from hpo_bench.core.meter import Cost, CostMeter
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError
from hpo_bench.records import scratch
from hpo_bench.records.files import own_folder, write_whole
from hpo_bench.records.journal import Journal
from hpo_bench.records.schema import read_bill
from hpo_bench.search.cluster import check_address, no_cluster
from hpo_bench.search.trials import Outcome, whole_trial

_RAY_STARTS = 4
_PATIENCE = 60  # seconds until a search says that it waits for CPUs
_BILL_INTERVAL = 1.0  # seconds between two copies of a worker's bill: at most this much of a killed trial goes unbilled


def build_problem(spec: ProblemSpec, processes: int) -> Problem:
    """The problem of a spec, in this process, on this process's share of the cores."""
    prepare_process(processes)
    device = resolve_device(spec.device)
    task = registry.load(registry.TASKS, spec.task)(device=device, **spec.task_options).task
    protocol = Protocol(**spec.protocol)
    meter = CostMeter(protocol.batch_size, device)
    return Problem(task, protocol, spec.seed, Budget(trials=1), meter, spec)


def processes_for(workers: int, pieces: int, address: str = "") -> int:
    """How many of `workers` processes can be of use for `pieces` of work at a time; says so where it is fewer.

    On a cluster, that of `address`, the cores of this machine say nothing.
    """
    useful = min(workers, max(1, pieces), workers if address else cores())
    if useful < workers:
        least = f"{pieces} pieces of work at a time" if useful == pieces else f"{cores()} cores"
        warnings.warn(f"{workers} workers were asked for; {useful} can be used, as there are {least}", stacklevel=3)
    return useful


@contextmanager
def ray_session(workspace: Path, processes: int, address: str = "") -> Iterator[int]:
    """Ray is running inside the block; a session that was there before is used and left alone.

    Yields the number of CPUs that the session has: `processes`, unless it is somebody else's.

    A unix socket's path holds 107 characters, so Ray's session folder lies in the system's temporary folder and not in
    the workspace; `workspace/ray-session` names it, so that what a kill leaves there is removed by the next run.

    Raises:
        UserError: no cluster answers at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths in task options mean what they mean here
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: training would starve beside any other process
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address:
        check_address(address)
    import ray

    scratch.clear(workspace)
    if ray.is_initialized():
        yield int(ray.cluster_resources()["CPU"])
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    with ExitStack() as stack:
        stack.callback(ray.shutdown)
        if address:
            try:
                ray.init(address=address, **quiet)
            except Exception as error:  # whatever Ray raises here: it does not answer as a cluster does
                raise no_cluster(address, error) from error
        else:
            folder = scratch.make(workspace)
            stack.push(lambda *_: scratch.remove(workspace, folder))
            stack.callback(ray.shutdown)  # before its folder goes
            stack.enter_context(_without("RAY_ADDRESS"))  # it would be taken for the address of this session
            _start_ray(
                num_cpus=processes,
                include_dashboard=False,
                object_store_memory=100 * 2**20,  # results are small
                _temp_dir=str(folder),
                **quiet,
            )
        yield int(ray.cluster_resources()["CPU"])


@contextmanager
def _without(variable: str) -> Iterator[None]:
    """Unset an environment variable inside the block."""
    before = os.environ.pop(variable, None)
    if before is not None:
        warnings.warn(f"{variable} is set and not used: --ray-address names a cluster", stacklevel=4)
    try:
        yield
    finally:
        if before is not None:
            os.environ[variable] = before


def _start_ray(**options: Any) -> None:
    """`ray.init`, tried again: on a machine that is busy enough, Ray waits 30 s for its own node and gives up.

    Raises:
        UserError: it gave up each time.
    """
    import ray

    for left in reversed(range(_RAY_STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as error:  # a bare Exception is what Ray raises here
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if not left:
                raise UserError(
                    f"Ray did not start in {_RAY_STARTS} attempts of 30 s", "end other work on this machine, or wait"
                ) from error


def share_of_gpu(spec: ProblemSpec, processes: int) -> float:
    """What a worker asks Ray for: all workers share one accelerator."""
    return 1 / processes if spec.device.startswith("cuda") else 0


@contextmanager
def billed_to(path: Path, meter: CostMeter) -> Iterator[Callable[[], Cost]]:
    """In a worker: keep a copy of what the block costs on disk, for whoever finds it after a kill.

    Yields a function that returns the cost so far.
    """
    before, saved = meter.snapshot(), time.monotonic()

    def spent() -> Cost:
        return meter.snapshot() - before

    def beat() -> None:
        nonlocal saved
        if time.monotonic() - saved > _BILL_INTERVAL:
            saved = time.monotonic()
            write_whole(path, json.dumps(spent().to_json()).encode())

    meter.heartbeat = beat
    try:
        yield spent
    finally:
        meter.heartbeat = None


def bill_path(workspace: Path, unit: str) -> Path:
    """Where the bill of a unit of work lies while a worker is at it."""
    return workspace.resolve() / "bills" / f"{unit}.json"


def bill_worker(meter: CostMeter, cost: Cost, processes: int, *, clocked: bool = True) -> None:
    """Add what one of `processes` workers spent to the driver's bill (the module's docstring has the identity).

    `clocked`: the driver's own clock ran as orchestration meanwhile, and counted this time already. It did not if the
    driver was killed since then.
    """
    counted = cost.seconds if clocked else 0.0
    seconds = (cost.seconds_orchestration - counted) / processes
    meter.add(dataclasses.replace(cost, seconds_orchestration=seconds))


def claim_lost_bills(journal: Journal, billed: Callable[[str], bool], processes: int, *, clocked: bool = False) -> None:
    """Add to the run's bill what workers that were killed had spent on units that nobody was billed for.

    `processes`, `clocked`: as for `bill_worker`; by default the driver was killed with them.
    """
    for path in sorted(own_folder(journal.workspace / "bills").glob("*.json")):
        if not billed(path.stem):
            bill_worker(journal.meter, read_bill(path), processes, clocked=clocked)
        path.unlink()
        journal.save_bill()


class TrialActor:
    """A worker process: one problem, one trial at a time."""

    def __init__(self, spec: ProblemSpec, processes: int) -> None:
        self._problem = build_problem(spec, processes)

    def ready(self) -> bool:
        return True

    def run(self, weights: np.ndarray, bill: str) -> Outcome:
        with memory_told(), billed_to(Path(bill), self._problem.meter):
            return whole_trial(self._problem, weights)


class TrialWorkers:
    """A pool of trial actors; Ray starts with the first batch and ends with `stack`."""

    def __init__(self, problem: Problem, journal: Journal, processes: int, address: str, stack: ExitStack) -> None:
        self._problem, self._journal, self._processes, self._address = problem, journal, processes, address
        self._stack = stack
        self._actors: list[Any] = []
        recorded = len(journal.trials)
        claim_lost_bills(journal, lambda unit: int(unit) < recorded, processes)

    def run(self, proposals: list[tuple[int, np.ndarray]], record: Callable[[int, np.ndarray, Outcome], None]) -> None:
        """Train (number, weights) side by side; record them in the given order as soon as that allows."""
        if proposals:
            with self._problem.meter.phase("orchestration"), readable_failures():
                self._start()
                self._run(proposals, record)

    def _run(self, proposals: list[tuple[int, np.ndarray]], record: Callable[[int, np.ndarray, Outcome], None]) -> None:
        import ray

        bills = [bill_path(self._journal.workspace, f"{number:05d}") for number, _ in proposals]
        waiting = [
            actor.run.remote(weights, str(bill))
            for actor, (_, weights), bill in zip(cycle(self._actors), proposals, bills, strict=False)
        ]
        for (number, weights), future, bill in zip(proposals, waiting, bills, strict=True):
            outcome = ray.get(future)
            bill_worker(self._problem.meter, outcome.cost, self._processes)
            record(number, weights, outcome)
            bill.unlink(missing_ok=True)

    def _start(self) -> None:
        if self._actors:
            return
        import ray

        assert self._problem.spec is not None  # supports() said so
        self._stack.enter_context(ray_session(self._journal.workspace, self._processes, self._address))
        gpus = share_of_gpu(self._problem.spec, self._processes)
        actor = ray.remote(num_cpus=1, num_gpus=gpus)(TrialActor)
        self._actors = [actor.remote(self._problem.spec, self._processes) for _ in range(self._processes)]
        self._stack.callback(self._stop)
        started = [one.ready.remote() for one in self._actors]
        if ray.wait(started, num_returns=len(started), timeout=_PATIENCE)[1]:
            warnings.warn(
                f"Ray has not found {self._processes} free CPUs in {_PATIENCE} s; this search waits for them",
                stacklevel=2,
            )
        ray.get(started)

    def _stop(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


@contextmanager
def readable_failures() -> Iterator[None]:
    """Inside, a failure in a worker is raised as the worker's own error, not in Ray's wrapping."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise readable(error) from error


def readable(error: BaseException) -> BaseException:
    """The error in a worker that can be told in a sentence: the user's, the disk's, or that the worker died."""
    import ray

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError | OSError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        if isinstance(cause, ray.exceptions.RayActorError):
            remedy = "give fewer --workers if memory ran out; the same command goes on where this one ended"
            return UserError(f"a worker process died: {cause}", remedy)
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error
