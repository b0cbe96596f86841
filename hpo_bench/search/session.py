"""Ray is running: a session on this machine, or somebody's cluster that is joined and left alone."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_bench.core.cores import cores
from hpo_bench.core.settings import PLACE
from hpo_bench.errors import UserError
from hpo_bench.records import scratch
from hpo_bench.search.cluster import check_address, no_cluster

MOST_WORKERS = 1024
TRIES = 3  # workers that one piece of work may lose
_RAY_STARTS = 8
_ROOM = 2**20  # bytes; Ray starts with less, and then its workers cannot


@dataclass
class SideBySide:
    """The options of a method that works in several processes.

    Attributes:
        workers: pieces of work (trials, members) that are done side by side in processes of their own, as many as
            there are cores; 1 works in this process.
        ray_address: an existing Ray cluster to use ("auto" finds it); empty starts Ray on this machine. Where a run is
            done is no part of what it is: it may go on elsewhere.
        ray_timeout: seconds that the cluster may take to answer.
    """

    workers: int = 1
    ray_address: str = field(default="", metadata=PLACE)
    ray_timeout: float = field(default=60.0, metadata=PLACE)


@contextmanager
def ray_session(workspace: Path, processes: int, address: str = "", timeout: float = 60.0) -> Iterator[None]:
    """Ray is running inside the block; a session that was there before is used and left alone.

    A unix socket's path holds 107 characters, so Ray's session folder lies in the system's temporary folder and not in
    the workspace; `workspace/ray-session` names it, so that what a kill leaves there is removed by the next run.

    Raises:
        UserError: no cluster answers at `address` within `timeout` seconds.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: training would starve beside any other process
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    scratch.clear(workspace)
    if ray.is_initialized():
        yield
        return
    terminated = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    with ExitStack() as stack:
        if address != "auto":
            stack.enter_context(_without("RAY_ADDRESS"))  # it would be taken for the address of this session
        stack.callback(ray.shutdown)
        if address:
            check_address(address, timeout)
            try:
                ray.init(address=address, **quiet)
            except Exception as error:  # whatever Ray raises here: it does not answer as a cluster does
                raise no_cluster(address, error) from error
        else:
            folder = scratch.make(workspace)
            stack.push(lambda *_: scratch.remove(workspace, folder))
            stack.callback(ray.shutdown)  # before its folder goes
            if not os.access(os.path.expanduser("~"), os.W_OK):  # where Ray would write a token for this session
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            _start_ray(
                folder,
                num_cpus=processes,
                include_dashboard=False,
                object_store_memory=100 * 2**20,  # results are small
                **quiet,
            )
        if threading.current_thread() is threading.main_thread() and terminated is not None:
            signal.signal(signal.SIGTERM, terminated)  # Ray puts its own there: C++ frames on stderr, and an abort
        yield


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


def _start_ray(folder: Path, **options: Any) -> None:
    """`ray.init`, tried again: on a machine that is busy enough, Ray waits 30 s for its own node and gives up.

    Raises:
        UserError: it gave up each time, or there is no room in `folder` for what it writes.
    """
    import ray

    for left in reversed(range(_RAY_STARTS)):
        try:
            ray.init(_temp_dir=str(folder), **options)
            return
        except Exception as error:  # a bare Exception is what Ray raises here
            ray.shutdown()
            scratch.end_processes(folder)  # those that had started stay otherwise, and slow the next attempt down
            if shutil.disk_usage(folder).free < _ROOM:
                remedy = "free some space there, or name another folder with the environment's TMPDIR"
                raise UserError(f"Ray could not start: the temporary folder {folder.parent} is full", remedy) from error
            if "timed out" not in str(error).lower():
                raise
            if not left:
                raise UserError(
                    f"Ray did not start in {_RAY_STARTS} attempts of 30 s", "end other work on this machine, or wait"
                ) from error


def processes_for(workers: int, pieces: int, address: str = "") -> int:
    """How many of `workers` processes can be of use for `pieces` of work at a time; says so where it is fewer.

    On a cluster, that of `address`, the cores of this machine say nothing.
    """
    useful = min(workers, max(1, pieces), workers if address else cores())
    if useful < workers:
        least = f"{pieces} pieces of work at a time" if useful == pieces else f"{cores()} cores"
        warnings.warn(f"{workers} workers were asked for; {useful} can be used, as there are {least}", stacklevel=3)
    return useful


def lost_errors() -> tuple[type[BaseException], ...]:
    """What Ray raises where a worker, its machine, or what lay in its memory is gone."""
    from ray import exceptions as ray

    return (
        ray.WorkerCrashedError,
        ray.NodeDiedError,
        ray.LocalRayletDiedError,
        ray.OutOfMemoryError,
        ray.ObjectLostError,
    )


def readable(error: BaseException) -> BaseException:
    """The error that can be told in a sentence, the user's, the disk's or Ray's own, and not in Ray's wrapping."""
    from ray import exceptions as ray

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError | OSError) and not isinstance(cause, ray.RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    if isinstance(error, ray.RayTaskError) and _could_not_begin(error.cause):
        remedy = "every machine of a cluster needs the same software (docs/cluster.md)"
        raised = (line for line in reversed(str(error).splitlines()) if re.match(r"\w+(\.\w+)*: ", line))
        return UserError(f"a worker could not begin: {next(raised, error.cause)}", remedy)
    if isinstance(error, ray.RayError) and not isinstance(error, ray.RayTaskError):  # no program raised it
        remedy = "the same command goes on where this one ended"
        return UserError(f"Ray failed: {(str(error).strip().splitlines() or [type(error).__name__])[0]}", remedy)
    return error


def _could_not_begin(cause: BaseException) -> bool:
    """Was it Ray that failed, over the function or its arguments, before any of our code ran?"""
    from ray import exceptions as ray

    return isinstance(cause, ray.RaySystemError) or "failed to import on the worker" in str(cause)
