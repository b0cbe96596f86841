"""Seconds of `compare` on made-up records, part by part: python benchmarks/compare.py [--runs 1000] [--tasks 6].

Processor seconds of one process, so that other work on the machine counts less; figures are most of the bill. The last
line is the wall clock of all of it as a user has it, report and figures on as many cores as there are.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hpo_bench.compare import compare
from hpo_bench.compare.charts.draw import of_task
from hpo_bench.compare.charts.printed import save
from hpo_bench.compare.cohort import cohorts
from hpo_bench.compare.export.latex import to_latex
from hpo_bench.compare.stats.aggregate import overall
from hpo_bench.compare.stats.summary import summarise
from hpo_bench.compare.tables.table import by_task, to_csv, to_json, to_markdown
from hpo_bench.compare.tables.verdict import verdict, weights_matter
from hpo_bench.records.load import finished, load_runs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "compare"))
from synthetic import GAIN, write_runs  # type: ignore[import-not-found]

TASKS = ("bace", "bbbp", "clintox", "esol", "freesolv", "lipophilicity", "hiv", "sider", "tox21", "qm7")


def main() -> None:
    """Print one line a part and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=6, choices=range(1, len(TASKS) + 1))
    parser.add_argument("--trials", type=int, default=12)
    asked = parser.parse_args()
    repetitions = -(-asked.runs // (asked.tasks * len(GAIN)))
    with tempfile.TemporaryDirectory() as scratch:
        records = Path(scratch) / "runs"
        write_runs(records, tasks=TASKS[: asked.tasks], repetitions=repetitions, trials=asked.trials)
        print(
            f"{repetitions * asked.tasks * len(GAIN)} runs: {asked.tasks} tasks x {len(GAIN)} methods x {repetitions}"
        )
        start = time.perf_counter()
        compare(records, Path(scratch) / "whole")
        wall = time.perf_counter() - start
        seconds = measure(records, Path(scratch) / "out")
    for part, value in seconds.items():
        print(f"{part:32s} {value:6.2f} s")
    without = sum(value for part, value in seconds.items() if not part.startswith("figure"))
    print(f"{'without figures and report':32s} {without:6.2f} s")
    print(f"{'all':32s} {sum(seconds.values()):6.2f} s")
    print(f"{f'wall clock, {os.cpu_count()} cores':32s} {wall:6.2f} s, imports apart")


def measure(records: Path, out: Path) -> dict[str, float]:
    """Processor seconds by part; figures by kind, over all tasks."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        start = time.process_time()
        yield
        seconds[part] = seconds.get(part, 0.0) + time.process_time() - start

    rng = np.random.default_rng(0)
    with timed("read run.json"):
        runs = load_runs(records)
    with timed("read trials, sort into tasks"):
        tasks, _ = cohorts(finished(runs, records))
    with timed("rows, paired tests"):
        rows = [row for task in tasks for row in summarise(task, "equal", rng)]
    groups = by_task(rows)
    with timed("does weighting matter"):
        for task in tasks:
            weights_matter(task, rng)
    with timed("verdicts"):
        for task in tasks:
            verdict(task, groups[task.label], "equal", rng)
    with timed("over tasks: bootstrap, ranks"):
        overall(tasks, "equal", rng)
    with timed("tables as text"):
        _ = to_csv(rows), to_json(rows), to_markdown(rows), to_latex(rows)
    for task in tasks:
        for name, drawing in of_task(task, groups[task.label], "equal").items():
            with timed(f"figure {name}"):
                chart = drawing()
                if chart is not None:
                    save(chart, out / task.slug / name)
    return seconds


if __name__ == "__main__":
    main()
