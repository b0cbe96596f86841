"""One search in a process of its own, which may kill itself: `python -m hpo_bench.testing.child '{"method": …}'`.

The tests of resuming need a process that dies by SIGKILL at a known point, all its descendants in its group with it.
`run_in_child` does the same without a fresh interpreter.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hpo_bench.records import journal as records
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch
from hpo_bench.testing.problems import quick_problem


def run_in_child(method: ObjectiveWeightSearch, folder: Path, *, timeout: float = 300, **orders: Any) -> dict | None:
    """Search in a process of its own; returns weights, value and bill, or None if it killed itself as ordered.

    The process is forked from a server that has imported torch and this package, and done nothing else.

    `orders`: `problem` (arguments of `quick_problem`), `kill_at_pass` or `kill_at_report` (n-th pass of the core, n-th
    progress report), `delay` (seconds between that and the kill). The class of `method` must be importable.
    """
    kind = type(method)
    options = asdict(method)  # type: ignore[call-overload]
    order = {"method": f"{kind.__module__}:{kind.__qualname__}", "options": options, "folder": str(folder), **orders}
    told = Path(folder).parent / f"{Path(folder).name}.told"
    process = warm_process(_child, json.dumps(order), str(told), dict(os.environ))
    process.join(timeout)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        raise AssertionError(f"the child process was not done after {timeout} seconds:\n{told.read_text()}")
    if process.exitcode == -signal.SIGKILL:
        return None
    if process.exitcode != 0:
        raise AssertionError(f"the child process failed:\n{told.read_text()}")
    return json.loads(told.read_text().splitlines()[-1])


# What a first run imports, torch's optimizers among it: seconds that each child would spend again.
FIRST_USED = [
    *("torch._dynamo", "torch.profiler", "hpo_bench.core.probing", "hpo_bench.tasks.quadratic"),
    *("hpo_bench.__main__", "hpo_bench.cli", "hpo_bench.run.runner"),
]
_WARM = multiprocessing.get_context("forkserver")


def warm_process(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that does `work(*arguments)`, started; forked from a server that has imported torch and this package.

    `work` must be importable. The server has the environment of the first call: `work` sets its own.
    """
    _WARM.set_forkserver_preload([__name__, *FIRST_USED])
    process = _WARM.Process(target=work, args=arguments)
    process.start()
    return process


def _child(order: str, told: str, environment: dict[str, str]) -> None:
    """`main` in a process group of its own, under the caller's environment; all that it prints goes to a file."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    main(json.loads(order))
    sys.stdout.flush()


def main(order: dict[str, Any]) -> None:
    """Search as ordered and print the result as one line of JSON."""
    module, _, name = order["method"].partition(":")
    method = getattr(importlib.import_module(module), name)(**order["options"])
    problem = quick_problem(**order.get("problem", {}))
    counts = {"pass": 0, "report": 0}

    def count(what: str) -> None:
        counts[what] += 1
        if counts[what] == order.get(f"kill_at_{what}"):
            delay = order.get("delay", 0)
            if delay:
                threading.Timer(delay, os.killpg, (0, signal.SIGKILL)).start()
            else:
                os.killpg(0, signal.SIGKILL)

    def watch(progress: Progress) -> None:
        count("report")

    records.BILL_INTERVAL = 0.0  # every pass is on the bill when the process dies
    journal = Journal.open(Path(order["folder"]), problem.meter, watch)
    beat = problem.meter.heartbeat

    def heartbeat() -> None:
        if beat is not None:
            beat()
        count("pass")

    problem.meter.heartbeat = heartbeat
    result = method.search(problem, journal)
    print(
        json.dumps(
            {
                "weights": result.weights.tolist(),
                "value": result.value,
                "bill": journal.save_bill().to_json(),
                "passes": counts["pass"],
            }
        )
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
