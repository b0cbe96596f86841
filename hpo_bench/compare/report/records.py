"""Every run's record as the report carries it: run.json whole, its trials, and the command that makes it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import objective_colours
from hpo_bench.records.load import DAMAGED
from hpo_bench.records.schema import read_run, read_trials
from hpo_bench.records.sessions import environment_changes
from hpo_bench.run.rerun import USUAL, out_of, rerun

SHARED = ("config", "environments", "data", "metric", "objectives", "options")  # the same in many runs: written once
EXACT = 2**53  # integers above it lose digits in a browser


def run_entries(runs: pd.DataFrame, tasks: list[TaskRuns]) -> tuple[list[dict[str, Any]], list[Any]]:
    """One entry per run of `load_runs`, and the pool that holds what many records have in common.

    An entry's `record` is its run.json. A value {"$": i} stands for `pool[i]`.
    """
    trials = {
        folder: found
        for task in tasks
        for method in task.methods.values()
        for folder, found in zip(method.folders, method.trials, strict=True)
    }
    labels = {
        folder: (task.label, method.label)
        for task in tasks
        for method in task.methods.values()
        for folder in method.folders
    }
    pool: list[Any] = []
    places: dict[str, int] = {}
    entries = []
    for row in runs[runs["status"] != DAMAGED].to_dict("records"):
        folder = row["folder"]
        record = read_run(Path(folder))
        task, method = labels.get(folder, (row["task"], row["method"]))
        found = trials[folder] if folder in trials else read_trials(Path(folder))
        entries.append(
            {
                "task": task,
                "method": method,
                "again": rerun(record, out_of(Path(folder), USUAL)),
                "colours": _shared(list(objective_colours(row["objectives"]).values()), pool, places),
                "trials": [_trial(trial) for trial in found],
                "sessions": environment_changes(record["environments"]),
                "record": {
                    key: _shared(value, pool, places) if key in SHARED else plain(value)
                    for key, value in record.items()
                },
            }
        )
    return entries, pool


def plain(value: Any) -> Any:
    """A value that every JSON reader takes as it is: no NaN, no integer that a browser would round."""
    if isinstance(value, float):  # the most frequent first: a report has a few hundred thousand of them
        return value if math.isfinite(value) else None
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    return plain(value.tolist()) if isinstance(value, np.ndarray) else value


def digits(value: Any, count: int = 5) -> Any:
    """Numbers with `count` significant digits, lists and arrays of them too; NaN becomes None."""
    if isinstance(value, np.ndarray):
        return digits(value.tolist(), count)
    if isinstance(value, list | tuple):
        return [digits(entry, count) for entry in value]
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{count}g}")
    return int(short) if short.is_integer() and abs(short) < EXACT else short


def _trial(trial: Mapping[str, Any]) -> list[Any]:
    """[number, state, value, step-equivalents spent, weights]: what the table of trials shows."""
    value, spent = trial.get("value"), (trial.get("spent") or {}).get("step_equivalents")
    return [
        trial.get("number"),
        trial.get("state"),
        None if value is None else digits(value, 6),
        None if spent is None else digits(spent, 7),
        digits(trial.get("weights") or [], 4),
    ]


def _shared(value: Any, pool: list[Any], places: dict[str, int]) -> dict[str, int]:
    key = json.dumps(value, sort_keys=True)
    if key not in places:
        places[key] = len(pool)
        pool.append(plain(value))
    return {"$": places[key]}
