"""Run folders read back into pandas: one line gives all runs, their trials or their weight trajectories.

    from hpo_bench.records.load import load_runs
    runs = load_runs("runs")

Nothing here needs torch: records can be read on a machine that never trains.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from hpo_bench.errors import UserError

SCHEMA = 1  # the newest layout of run.json that this version reads
CONFIG = ("preset", "method_options", "task_options", "protocol", "budget", "device")
HOW_TO_RUN = "make one with: python -m hpo_bench run --method tapweight --task bace --out {path}"


def load_runs(path: str | Path) -> pd.DataFrame:
    """All runs below `path`, one row each, sorted by task, method, seed and folder.

    Every run comes, whatever became of it; `status` says so ("running", "done", "failed", "diverged", "over-budget").
    Columns that hold a result (`weights`, `value`, `retrained_test`, ...) are filled for status "done" alone, so that
    nothing unfinished can be taken for a result. `retrained_valid`, `retrained_test` and `retrained_seeds` are lists
    with one entry per retraining; a score that is missing is NaN. Costs are flat columns `search_<field>` and
    `retraining_<field>` with the fields of `Cost`.

    Raises:
        UserError: no such folder, no run in it, or a run.json that cannot be read (the file is named).
    """
    root = Path(path)
    rows = [_row(folder, read_run(folder)) for folder in run_folders(root)]
    if not rows:
        raise UserError(f"There is no run in {root}: {_what_is_there(root)}.", HOW_TO_RUN.format(path=root))
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
        raise UserError(f"No finished run in {path}: found {found}.", remedy)
    return done.reset_index(drop=True)


def load_trials(path: str | Path) -> pd.DataFrame:
    """All recorded trials below `path`, one row each: folder, task, method, seed, status of the run, and the trial.

    Columns of the trial: number, state, weights (list), value (NaN if diverged), `cost_<field>` for the trial alone and
    `spent_<field>` for the run's bill when it ended, schedule, note.
    """
    rows = []
    for head, line in _lines(Path(path), "trials.jsonl"):
        trial = {key: line.get(key) for key in ("number", "state", "weights", "value", "schedule", "note")}
        trial["value"] = _number(trial["value"])
        bills = {f"{name}_{field}": value for name in ("cost", "spent") for field, value in line.get(name, {}).items()}
        rows.append({**head, **trial, **bills})
    return pd.DataFrame(rows, columns=None if rows else ["folder", "task", "method", "seed", "status", "number"])


def load_trajectories(path: str | Path) -> pd.DataFrame:
    """All recorded changes of weights below `path`, one row each: folder, task, method, seed, status, step, weights.

    Whatever else a method wrote beside them (trial, losses, hypergradient) comes as further columns.
    """
    rows = [{**head, **line} for head, line in _lines(Path(path), "trajectory.jsonl")]
    return pd.DataFrame(rows, columns=None if rows else ["folder", "task", "method", "seed", "status", "step"])


def run_folders(root: Path) -> list[Path]:
    """Every folder at or below `root` that holds a run.json, sorted; run folders are not searched for more runs.

    Raises:
        UserError: `root` is not a folder.
    """
    if root.is_file():
        raise UserError(f"{root} is a file.", "Name the folder that holds the records.")
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.", HOW_TO_RUN.format(path=root))
    found = []
    for folder, subfolders, files in os.walk(root):
        if "run.json" in files:
            found.append(Path(folder))
            subfolders.clear()
        else:
            subfolders.sort()
    return sorted(found)


def read_run(folder: Path) -> dict[str, Any]:
    """One run.json, checked as far as reading it needs.

    Raises:
        UserError: not JSON, not a record of ours, of a newer layout, or "done" without a result.
    """
    path = folder / "run.json"
    remedy = "move the folder away, or run it again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", remedy) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise UserError(f"{path} is not a record of hpo_bench: it names no schema.", remedy)
    if schema > SCHEMA:
        message = f"{path} has schema {schema}; this version of hpo_bench reads schemas up to {SCHEMA}."
        raise UserError(message, "upgrade hpo_bench: pip install --upgrade hpo-bench")
    missing = [key for key in ("status", "method", "task", "seed") if key not in record]
    if not missing and record["status"] == "done":
        missing = [key for key in ("result", "metric", "objectives", "cost") if not record.get(key)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}.", remedy)
    return record


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a JSON-lines file, none if there is no file; a last line cut short by a kill is left out.

    Raises:
        UserError: a whole line that is not JSON; file and line are named.
    """
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        if not text.endswith("\n"):
            break
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            remedy = "move the run away, or run it again"
            raise UserError(f"{path}, line {number}, is not JSON: {error}.", remedy) from error
    return lines


def _row(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    config, environment = record.get("config") or {}, record.get("environment") or {}
    metric = record.get("metric") or {}
    row = {
        "folder": str(folder),
        **{key: record[key] for key in ("task", "method", "seed", "status")},
        "error": record.get("error"),
        "metric": metric.get("name"),
        "higher_is_better": metric.get("higher_is_better"),
        "objectives": tuple(record.get("objectives") or ()),
        **{key: config.get(key) for key in CONFIG},
        **{key: record.get(key) for key in ("base_id", "trial_cost", "started", "ended", "sessions")},
        "git_commit": environment.get("git_commit"),
        "git_dirty": environment.get("git_dirty"),
        "environment": environment,
        "notices": tuple((record.get("data") or {}).get("notices") or ()),
        **_result(record),
    }
    for part in ("search", "retraining"):
        bill = (record.get("cost") or {}).get(part) or {}
        row |= {f"{part}_{field}": value for field, value in bill.items()}
    return row


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


def _lines(root: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = []
    for folder in run_folders(root):
        record = read_run(folder)
        head = {"folder": str(folder), **{key: record[key] for key in ("task", "method", "seed", "status")}}
        pairs += [(head, line) for line in read_lines(folder / name)]
    return pairs


def _what_is_there(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir())
    if not names:
        return "it is empty"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"it holds {', '.join(names[:5])}{more}, but no run.json at any depth"
