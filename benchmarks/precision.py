"""Does bf16 change scores? Paired trials of equal weights in fp32 and bf16, the same seeds, the valid score of each.

    python benchmarks/precision.py --task bace --seeds 6 --data-dir FOLDER

Printed: each pair, the mean difference with its standard error, and the spread between seeds that it is to be compared
with. Test is not read.
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpo_bench.core.budget import Budget
from hpo_bench.core.device import prepare_process
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.problem import Problem
from hpo_bench.core.protocol import Precision, Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task
from hpo_bench.tasks.base import Task

PRECISIONS: tuple[Precision, Precision] = ("fp32", "bf16")


def valid_score(task: Task, protocol: Protocol, seed: int) -> float:
    """One trial of equal weights."""
    meter = CostMeter(protocol.batch_size, task.device)
    trial = Problem(task, protocol, seed, Budget(trials=1), meter).start_trial()
    trial.follow(WeightSchedule.constant(np.full(task.num_objectives, 1 / task.num_objectives)))
    return trial.validate().value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="bace")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    if given.data_dir:
        os.environ["HPO_BENCH_DATA"] = str(given.data_dir)
    prepare_process()
    config = configure("equal", given.task, out=Path("runs"), preset=given.preset)  # as `run` understands a preset
    task = load_task(given.task, config.task_options, given.device).task
    protocols = [replace(config.protocol, precision=name) for name in PRECISIONS]
    pairs = []
    for seed in range(given.seeds):
        pairs.append([valid_score(task, protocol, seed) for protocol in protocols])
        print(f"seed {seed}: fp32 {pairs[-1][0]:.4f}, bf16 {pairs[-1][1]:.4f}", flush=True)
    differences = [bf16 - fp32 for fp32, bf16 in pairs]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    spread = statistics.stdev(fp32 for fp32, _ in pairs)
    print(
        f"{given.task}, {task.metric.name} on valid, {len(pairs)} pairs: bf16 minus fp32 "
        f"{statistics.mean(differences):+.4f} ± {error:.4f}; fp32 seeds differ by {spread:.4f} (standard deviation)"
    )


if __name__ == "__main__":
    main()
