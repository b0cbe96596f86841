"""Jobs that write files, several processes side by side where that helps."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from hpo_bench.core.cores import end_with
from hpo_bench.errors import UserError

Job = Callable[[], list[Path]]  # returns what it wrote
MANY = 12  # jobs from which on other processes help

_jobs: Sequence[Job] = ()  # of a worker


def side_by_side(jobs: Sequence[Job]) -> list[Path]:
    """Do all jobs; returns what they wrote, in the order of `jobs`. Long ones should come first.

    Raises:
        UserError: a process was killed.
    """
    workers = min(os.cpu_count() or 1, 8)
    if len(jobs) < MANY or workers < 2 or not sys.platform.startswith("linux") or threading.active_count() > 1:
        return [path for job in jobs for path in job()]  # a fork is cheap and safe on Linux without threads alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fork = multiprocessing.get_context("fork")
        try:
            with ProcessPoolExecutor(
                workers, mp_context=fork, initializer=_inherit, initargs=(jobs, os.getpid())
            ) as pool:
                return [path for paths in pool.map(_do, range(len(jobs))) for path in paths]
        except BrokenProcessPool as error:
            raise UserError(
                "A process that draws figures was killed; did the machine run out of memory?",
                "Compare again, or leave the figures out with --no-figures: the records are as they were.",
            ) from error


def _inherit(jobs: Sequence[Job], parent: int) -> None:
    """A worker has the jobs from the fork, records and all: only their numbers are sent."""
    global _jobs
    _jobs = jobs
    end_with(parent)
    gc.freeze()  # what came with the fork stays; looking through it for garbage would copy it


def _do(number: int) -> list[Path]:
    return _jobs[number]()
