"""The report's tables: cells as text, with a number to sort by where the text begins with one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import method_style, objective_colours
from hpo_bench.compare.tables.matrix import Matrix
from hpo_bench.compare.tables.table import bill_columns, number, score, score_columns

SECONDS = ("pretraining", "adaptation", "hypergradient", "evaluation", "orchestration")
LEADING = re.compile(r"^[<>]?\s*([+\-−]?[\d,]*\.?\d+(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Column:
    """A header and its cells; `kind` says how a cell is drawn: text, number, method, weights, status or run."""

    name: str
    cells: list[Any]
    kind: str = "text"
    choose: bool = False  # offer its values as a filter
    explain: str = ""


@dataclass(frozen=True)
class Table:
    """Columns of the same length."""

    id: str
    caption: str
    columns: list[Column]
    colours: dict[str, str] = field(default_factory=dict)  # of methods and objectives

    @property
    def rows(self) -> list[list[tuple[Column, Any, float | None]]]:
        """(column, cell, number to sort by) row by row."""
        count = len(self.columns[0].cells)
        return [[(c, c.cells[i], sort_number(c.cells[i])) for c in self.columns] for i in range(count)]


def sort_number(cell: Any) -> float | None:
    """The number that a cell begins with: `0.790 ± 0.026`, `−0.01`, `1,161`, `< 0.001`; None if it does not."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell) if math.isfinite(cell) else None
    found = LEADING.match(cell) if isinstance(cell, str) else None
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


EXPLAINED = {
    "valid": "mean valid score after retraining with the weights found",
    "test": "mean test score after retraining, with its 95 % interval over repetitions",
    "test as searched": "test score of the encoder that the search itself ended with",
    "p (Holm)": "sign-flip permutation test of the paired difference, corrected for the methods on this task",
    "better, %": "how often a retraining beats the reference's with the same seed",
    "n": "repetitions × retrainings in each",
    "cost, step-eq.": "forward passes count 1, backward passes 2, per batch; mean of the search",
    "in trials": "the same, in whole trials",
    "train, s": "seconds in pretraining and adaptation",
    "hyper, s": "seconds in hypergradients",
    "eval, s": "seconds in valid scores",
    "orch., s": "seconds outside training: optimiser, checkpoints, workers",
    "peak, GiB": "largest peak memory",
}


def task_table(number_of_task: int, rows: Sequence[Row], reference: str) -> Table:
    """The columns of the terminal's table; weights become bars."""
    objectives = rows[0].objectives
    colours = {label: style[0] for label, style in method_style([row.method for row in rows]).items()}
    columns = []
    for index, (header, texts) in enumerate([*score_columns(rows, reference), *bill_columns(rows)]):
        name = header.replace("\n", " ")
        explain = EXPLAINED.get(name, "paired difference, same seeds" if name.startswith("minus ") else "")
        if index == 0:
            columns.append(Column(name, texts, "method"))
        elif header.startswith("weights"):
            shares = [list(zip(objectives, row.weights, strict=True)) for row in rows]
            columns.append(Column("weights found", shares, "weights", explain="mean over repetitions"))
        else:
            columns.append(Column(name, texts, "number", explain=explain))
    return Table(f"task-{number_of_task}", rows[0].task, columns, colours | objective_colours(objectives))


def matrix_table(name: str, matrix: Matrix) -> Table:
    """A table of methods over tasks."""
    columns = [
        Column(header, [row[i] for row in matrix.rows], "number" if i else "method")
        for i, header in enumerate(matrix.columns)
    ]
    colours = {label: style[0] for label, style in method_style([row[0] for row in matrix.rows]).items()}
    return Table(name, matrix.title, columns, colours)


def runs_table(runs: pd.DataFrame, entries: Sequence[dict[str, Any]]) -> Table:
    """Every run, whatever became of it; the last column opens its record."""
    rows = runs.to_dict("records")
    methods = [entry["method"] for entry in entries]
    colours = {label: style[0] for label, style in method_style(methods).items()}
    retrained = [repetition_means(np.array([row["retrained_test"] or [math.nan]])) for row in rows]
    seconds = [sum(_amount(row, f"search_seconds_{p}") for p in SECONDS) for row in rows]
    columns = [
        Column("task", [entry["task"] for entry in entries], choose=True),
        Column("method", methods, "method", choose=True),
        Column("seed", [row["seed"] for row in rows], "number"),
        Column("status", [row["status"] for row in rows], "status", choose=True),
        Column("valid", [score(row["value"]) for row in rows], "number", explain="of the search; it was selected"),
        Column(
            "test",
            [score(float(means[0]) if len(means) else math.nan) for means in retrained],
            "number",
            explain="mean over retrainings",
        ),
        Column("cost, step-eq.", [number(_amount(row, "search_step_equivalents")) for row in rows], "number"),
        Column("search, s", [number(value) for value in seconds], "number"),
        Column("ended", [str(entry["record"].get("ended") or "")[:16].replace("T", " ") for entry in entries]),
        Column("record", list(range(len(rows))), "run"),
    ]
    return Table("runs", "runs", columns, colours)


def _amount(row: Mapping[Any, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if value is None else float(value)
