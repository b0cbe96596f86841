"""One search in a process of its own, which may kill itself: `python -m hpo_bench.testing.child '{"method": …}'`.

The tests of resuming need a process that dies by SIGKILL at a known point, all its descendants in its group with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo_bench.records import journal as records
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch
from hpo_bench.testing.problems import quick_problem


def run_in_child(method: ObjectiveWeightSearch, folder: Path, *, timeout: float = 300, **orders: Any) -> dict | None:
    """Search in a fresh process; returns weights, value and bill, or None if it killed itself as ordered.

    `orders`: `problem` (arguments of `quick_problem`), `kill_at_pass` or `kill_at_report` (n-th pass of the core, n-th
    progress report), `delay` (seconds between that and the kill). The class of `method` must be importable.
    """
    kind = type(method)
    options = asdict(method)  # type: ignore[call-overload]
    order = {"method": f"{kind.__module__}:{kind.__qualname__}", "options": options, "folder": str(folder), **orders}
    command = [sys.executable, "-m", "hpo_bench.testing.child", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, start_new_session=True)
    if done.returncode == -signal.SIGKILL:
        return None
    if done.returncode != 0:
        raise AssertionError(f"the child process failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


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
    journal = Journal(Path(order["folder"]), problem.meter, watch)
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
