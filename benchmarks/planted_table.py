"""What became of planted objectives: `python benchmarks/planted_table.py RECORDS` prints a table in Markdown.

Per variant of a task and per method, over its seeds: the mean final weight on each planted objective, valid and test
score of the retrained models (mean and standard deviation over seeds), and what the search cost in trials. A trial is
what `equal` costs there.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

PLANTED = ("noise", "harmful", "oracle")


def read(records: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The finished runs by variant of the task and by method; what did not finish is told on stderr."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(records.glob("*/*/seed-*/run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run.get("result") and run.get("cost"):
            found[path.parts[-4]][path.parts[-3]].append(run)
        else:
            print(f"{path.parent}: {run['status']}, left out", file=sys.stderr)
    return found


def line(method: str, runs: list[dict[str, Any]], planted: list[str], trial: float | None) -> list[str]:
    """One row: method, seeds, weights on what was planted, scores, cost."""
    weights = [dict(zip(run["objectives"], run["result"]["weights"], strict=True)) for run in runs]
    scores = [[mean(one[split] for one in run["result"]["retrained"]) for run in runs] for split in ("valid", "test")]
    cost = mean(run["cost"]["search"]["step_equivalents"] for run in runs)
    return [
        method,
        str(len(runs)),
        *(f"{mean(each[name] for each in weights):.2f}" if method != "none" else "–" for name in planted),
        *(f"{mean(of):.3f} ± {stdev(of):.3f}" if len(of) > 1 else f"{of[0]:.3f}" for of in scores),
        f"{cost / trial:.1f}" if trial else "–",
    ]


def main(records: Path) -> None:
    for task, methods in read(records).items():
        planted = [name for name in PLANTED if name in next(iter(methods.values()))[0]["objectives"]]
        equal = methods.get("equal")
        trial = mean(run["cost"]["search"]["step_equivalents"] for run in equal) if equal else None
        rows = [line(method, runs, planted, trial) for method, runs in methods.items()]
        rows.sort(key=lambda row: row[-2], reverse=True)
        head = ["method", "seeds", *planted, "valid", "test", "trials"]
        print(f"## {task}\n")
        for row in [head, ["---"] * len(head), *rows]:
            print(f"| {' | '.join(row)} |")
        print()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
