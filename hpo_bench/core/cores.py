"""How many of the machine's cores this process may use, for torch's threads and for processes that share work."""

from __future__ import annotations

import os
import threading
import time

from hpo_bench.errors import UserError


def cores() -> int:
    """Cores that the system gives to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(processes: int = 1) -> int:
    """Cores of one of `processes` that run side by side, at least 1; `HPO_BENCH_THREADS` overrides it.

    Raises:
        UserError: `HPO_BENCH_THREADS` is not a whole number from 1.
    """
    chosen = os.environ.get("HPO_BENCH_THREADS")
    if chosen and not (chosen.isdecimal() and int(chosen) > 0):
        raise UserError(f"HPO_BENCH_THREADS is {chosen!r}", "set it to the number of threads, 1 or more, or unset it")
    return int(chosen) if chosen else max(1, cores() // processes)


def end_with(parent: int) -> None:
    """In a process that shares work: end when the process `parent` has ended, however it did.

    A pool's processes wait for more work, and would wait for ever for a parent that was killed.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
