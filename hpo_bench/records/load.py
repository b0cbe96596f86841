"""Run folders read back into pandas: one line gives all runs, their trials or their weight trajectories.

    from hpo_bench.records.load import load_runs
    runs = load_runs("runs")

Nothing here needs torch: records can be read on a machine that never trains.
"""

from __future__ import annotations

import os
import shlex
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from hpo_bench.errors import UserError
from hpo_bench.records.files import is_torn
from hpo_bench.records.schema import read_run, read_tests, read_trajectory, read_trials

DAMAGED = "damaged"  # the status of a run whose records cannot be read
CONFIG = ("preset", "method_options", "task_options", "protocol", "budget", "device")


def load_runs(path: str | Path) -> pd.DataFrame:
    """All runs below `path`, one row each, sorted by task, method, seed and folder.

    Every run comes, whatever became of it; `status` says so ("running", "done", "failed", "diverged", "over-budget",
    and "damaged" for one whose records cannot be read: `error` says why, task and method are its folders' names).
    Columns that hold a result (`weights`, `value`, `retrained_test`, ...) are filled for status "done" alone, so that
    nothing unfinished can be taken for a result. `retrained_valid`, `retrained_test` and `retrained_seeds` are lists
    with one entry per retraining; a score that is missing is NaN. Costs are flat columns `search_<field>` and
    `retraining_<field>` with the fields of `Cost`.

    Raises:
        UserError: no such folder, or no run in it.
    """
    root = Path(path)
    expect_runs(root)
    rows = [_row(folder, record) for folder, record in _records(root)]
    frame = pd.DataFrame(rows)
    return frame.sort_values(["task", "method", "seed", "folder"], kind="stable", ignore_index=True)


def finished(runs: pd.DataFrame, path: str | Path = "runs") -> pd.DataFrame:
    """The rows of `load_runs` whose result may be used.

    Raises:
        UserError: there is none; the message counts what was found instead.
    """
    done = runs[runs["status"] == "done"]
    if done.empty:
        found = ", ".join(f"{count} {status}" for status, count in sorted(Counter(runs["status"]).items()))
        remedy = "the same `run` command again goes on where a run stood; `hpo-bench show RUN` tells why one failed"
        reasons = [str(error).split("\n")[0] for error in runs[runs["status"] == DAMAGED]["error"][:3]]
        raise UserError("\n".join([f"No finished run in {path}: found {found}.", *reasons]), remedy)
    return done.reset_index(drop=True)


def load_trials(path: str | Path) -> pd.DataFrame:
    """All recorded trials below `path`, one row each: folder, task, method, seed, status of the run, and the trial.

    Columns of the trial: number, state, weights (list), value (NaN if diverged), `cost_<field>` for the trial alone and
    `spent_<field>` for the run's bill when it ended, schedule, note.
    """
    rows = []
    for head, line in _lines(Path(path), read_trials):
        trial = {key: line.get(key) for key in ("number", "state", "weights", "value", "schedule", "note")}
        trial["value"] = _number(trial["value"])
        bills = {f"{name}_{field}": value for name in ("cost", "spent") for field, value in line.get(name, {}).items()}
        rows.append({**head, **trial, **bills})
    return pd.DataFrame(rows, columns=None if rows else ["folder", "task", "method", "seed", "status", "number"])


def load_trajectories(path: str | Path) -> pd.DataFrame:
    """All recorded changes of weights below `path`, one row each: folder, task, method, seed, status, step, weights.

    Whatever else a method wrote beside them (trial, losses, hypergradient) comes as further columns.
    """
    rows = [{**head, **line} for head, line in _lines(Path(path), read_trajectory)]
    return pd.DataFrame(rows, columns=None if rows else ["folder", "task", "method", "seed", "status", "step"])


def run_folders(root: Path) -> list[Path]:
    """Every folder at or below `root` that holds a run.json, sorted; run folders are not searched for more runs.

    Raises:
        UserError: `root` is not a folder, or a folder's name is no text, which no table holds.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is not a folder.", "Name the folder that holds the records.")
    if not root.exists():
        raise UserError(f"There is no folder {root}.", _how_to_run(root))
    found = []
    for folder, subfolders, files in os.walk(root):
        if "run.json" in files:
            found.append(Path(folder))
            subfolders.clear()
        else:
            subfolders.sort()
    for run in found:
        if (shown := str(run)) != shown.encode(errors="replace").decode():
            told = f"the folder {shown!a} has a name that is no text in this locale's encoding"
            raise UserError(told, "rename it, or set a locale that can read it (LC_ALL=C.UTF-8)")
    return sorted(found)


def expect_runs(root: Path) -> None:
    """Is there anything to read?

    Raises:
        UserError: no such folder, or no run in it.
    """
    if not run_folders(root):
        raise UserError(f"There is no run in {root}: {_what_is_there(root)}.", _how_to_run(root))


def readable(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and run.json of every run below `root` whose records can be read; a warning names each of the others."""
    found = []
    for folder, record in _records(root):
        if record["status"] == DAMAGED:
            warnings.warn(f"left out: {record['error']}", stacklevel=2)
        else:
            found.append((folder, record))
    return found


def _records(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and run.json of every run below `root`; one that is damaged, or has damaged lines, has that status."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for folder in run_folders(root):
        try:
            record = read_run(folder)
            for read in (read_trials, read_trajectory, read_tests):
                read(folder)
        except UserError as error:
            task, method = (folder.parent.parent.name, folder.parent.name)
            record = {"status": DAMAGED, "error": error.message, "task": task, "method": method, "seed": -1}
        found.append((folder, record))
    return found


def _row(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    config, environments = record.get("config") or {}, record.get("environments") or []
    environment = environments[0] if environments else {}
    metric = record.get("metric") or {}
    row = {
        "folder": str(folder),
        **{key: record[key] for key in ("task", "method", "seed", "status")},
        "error": record.get("error"),
        "metric": metric.get("name"),
        "higher_is_better": metric.get("higher_is_better"),
        "objectives": tuple(record.get("objectives") or ()),
        **{key: config.get(key) for key in CONFIG},
        **{key: record.get(key) for key in ("base_id", "content", "trial_cost", "started", "ended", "sessions")},
        "git_commit": environment.get("git_commit"),
        "git_dirty": environment.get("git_dirty"),
        "environments": environments,
        "notices": (*((record.get("data") or {}).get("notices") or ()), *_torn(folder, record)),
        **_result(record),
    }
    for part in ("search", "retraining"):
        bill = (record.get("cost") or {}).get(part) or {}
        row |= {f"{part}_{field}": value for field, value in bill.items()}
    return row


def _torn(folder: Path, record: dict[str, Any]) -> list[str]:
    """A sentence on a run that is done while its trials are not all there: a copy that was cut short, a full disk."""
    path = folder / "trials.jsonl"
    if record["status"] != "done" or not is_torn(path):
        return []
    return [f"{path} ends in the middle of a line: a trial of this run, or several, are not there"]


def _result(record: dict[str, Any]) -> dict[str, Any]:
    result = (record.get("result") if record["status"] == "done" else None) or {}
    retrained = sorted(result.get("retrained") or [], key=lambda entry: entry["index"])
    searched = result.get("as_searched") or {}
    return {
        "weights": result.get("weights"),
        "schedule": result.get("schedule"),
        "value": _number(result.get("value")),
        "as_searched_valid": _number(searched.get("valid")),
        "as_searched_test": _number(searched.get("test")),
        "retrained_seeds": [entry["seed"] for entry in retrained],
        "retrained_valid": [_number(entry.get("valid")) for entry in retrained],
        "retrained_test": [_number(entry.get("test")) for entry in retrained],
    }


def _number(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]


def _lines(root: Path, read: Callable[[Path], list[dict[str, Any]]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = []
    for folder, record in readable(root):
        head = {"folder": str(folder), **{key: record[key] for key in ("task", "method", "seed", "status")}}
        pairs += [(head, line) for line in read(folder)]
    return pairs


def _how_to_run(out: Path) -> str:
    return f"make one with: python -m hpo_bench run --method tapweight --task bace --out {shlex.quote(str(out))}"


def _what_is_there(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir())
    if not names:
        return "it is empty"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"it holds {', '.join(names[:5])}{more}, but no run.json at any depth"
