"""Work on many molecules in several processes, with a bar on a terminal that says how much is done."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from hpo_bench.core.cores import end_with
from hpo_bench.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, description: str
) -> Iterator[Result]:
    """The result of `work` on each of `jobs`, in their order; in this process where `workers` is 1.

    Processes are forked on Linux, so that a script needs no `if __name__ == "__main__":` there. `work` may call RDKit
    and numpy, but not torch, whose threads do not outlive a fork. What it imports should be imported before.

    Raises:
        UserError: a process was killed.
    """
    workers = min(workers, len(jobs))
    if workers < 2:
        yield from _with_progress(map(work, jobs), len(jobs), description)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with, initargs=(os.getpid(),)) as pool:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            results = pool.map(work, jobs)
        try:
            yield from _with_progress(results, len(jobs), description)
        except BrokenProcessPool as error:
            raise UserError(
                f"{description}: a process was killed; did the machine run out of memory?",
                "Set HPO_BENCH_THREADS=1 for one process, or take fewer molecules.",
            ) from error


def _with_progress(results: Iterator[Result], total: int, description: str) -> Iterator[Result]:
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, description, total=total, console=Console(stderr=True), transient=True)
