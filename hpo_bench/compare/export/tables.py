"""Runs, trials and weight trajectories as flat tables: CSV or Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from hpo_bench.compare.tables.table import harmless
from hpo_bench.records.load import load_runs, load_trajectories, load_trials


def write_tables(path: Path, out: Path, kind: str) -> list[Path]:
    """runs, trials and trajectories of all records below `path`, one file each in `out`; `kind` is csv or parquet.

    Lists of numbers (weights, scores of retrainings) stay lists in Parquet; in CSV, and wherever entries are not flat
    (configuration, schedules), they are JSON text.

    Raises:
        UserError: no runs, or a record that cannot be read.
    """
    frames = {"runs": load_runs(path), "trials": load_trials(path), "trajectories": load_trajectories(path)}
    written = []
    for name, frame in frames.items():
        target = out / f"{name}.{kind}"
        flat = frame.apply(lambda column: _flat(column, lists=kind == "parquet"))
        if kind == "csv":
            harmless(flat).to_csv(target, index=False, lineterminator="\n")
        else:
            flat.to_parquet(target, index=False)
        written.append(target)
    return written


def _flat(column: pd.Series, lists: bool) -> pd.Series:
    """A column of plain values, or of lists of numbers or of text if `lists`; anything else becomes JSON text."""
    if column.dtype != object:
        return column
    filled = [value for value in column if value is not None and not isinstance(value, float)]
    if all(isinstance(value, str | int | bool) for value in filled):
        return column
    if lists and all(isinstance(value, list | tuple) and _alike(value) for value in filled):
        return column.map(lambda value: list(value) if isinstance(value, list | tuple) else None)
    return column.map(lambda value: None if value is None else json.dumps(value))


def _alike(values: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers or all(isinstance(value, str) for value in values)
