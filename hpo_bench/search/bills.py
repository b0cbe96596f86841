"""What work in other processes costs, and who is billed for what was lost.

Seconds. Work in P processes side by side is billed so that

    (training + evaluation) / P + orchestration = wall clock

at every moment when no worker is in the middle of something. Training and evaluation are added up over the processes,
as in any of them alone; orchestration is what else the clock shows: starting Ray, set-up in workers, copies, waiting.
The driver's own clock runs as orchestration all along, so `bill_worker` takes from it what workers did meanwhile. P is
the number of processes that were asked for: where a cluster has fewer of them for a while, that is waiting.

A worker tells the driver about once a second what its piece of work has cost so far; the driver keeps the last word of
each in `workspace/bills`, so at most a second of what is lost with a worker, or with the driver, goes unbilled.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from hpo_bench.core.meter import Cost, CostMeter
from hpo_bench.records.files import own_folder, write_whole
from hpo_bench.records.journal import Journal
from hpo_bench.records.schema import read_bill


def bill_path(workspace: Path, unit: str) -> Path:
    """Where the bill of a unit of work lies while a worker is at it."""
    return workspace.resolve() / "bills" / f"{unit}.json"


def keep_bill(workspace: Path, unit: str, cost: Cost) -> None:
    """Write down what a unit of work has cost so far."""
    write_whole(bill_path(workspace, unit), json.dumps(cost.to_json()).encode())


def bill_worker(meter: CostMeter, cost: Cost, processes: int, *, clocked: bool = True) -> None:
    """Add what one of `processes` workers spent to the driver's bill (the module's docstring has the identity).

    `clocked`: the driver's own clock ran as orchestration meanwhile, and counted this time already. It did not if the
    driver was killed since then.
    """
    counted = cost.seconds if clocked else 0.0
    seconds = (cost.seconds_orchestration - counted) / processes
    meter.add(dataclasses.replace(cost, seconds_orchestration=seconds))


def claim_lost_bills(journal: Journal, billed: Callable[[str], bool], processes: int, *, clocked: bool = False) -> None:
    """Add to the run's bill what was spent on units that were lost, and that nobody was billed for.

    `processes`, `clocked`: as for `bill_worker`; by default the driver was killed with its workers.
    """
    for path in sorted(own_folder(journal.workspace / "bills").glob("*.json")):
        if not billed(path.stem):
            cost = read_bill(path)
            bill_worker(journal.meter, cost, processes, clocked=clocked)
            journal.lost += cost.step_equivalents
        path.unlink()
        journal.save_bill()
