"""Molecules with labels, read from a CSV: a catalogue set's or the user's own. Every fault names its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench.data.catalogue import Dataset, Kind, get_dataset
from hpo_bench.data.csvfile import CsvFile, read_csv
from hpo_bench.data.providers import Progress, locate
from hpo_bench.errors import UserError, nearest

MISSING = frozenset({"", "nan", "na", "n/a", "none", "null"})


@dataclass(frozen=True)
class MoleculeTable:
    """N molecules with L labels.

    `labels` (N, L) float64 in the file's units, NaN = missing; `lines` (N,) the line of the file that each row stands
    on; `split` the user's split column, or None. `source` goes into the record: path, sha256, rows, dropped rows.
    """

    smiles: list[str]
    labels: np.ndarray
    label_names: tuple[str, ...]
    kind: Kind
    lines: np.ndarray
    split: list[str] | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.smiles)

    def take(self, index: np.ndarray) -> MoleculeTable:
        """The rows `index` (M,), in that order; `source` stays."""
        rows = [int(row) for row in index]
        return replace(
            self,
            smiles=[self.smiles[row] for row in rows],
            labels=self.labels[rows],
            lines=self.lines[rows],
            split=None if self.split is None else [self.split[row] for row in rows],
        )


def read_table(
    path: str | Path,
    smiles_column: str = "smiles",
    label_columns: Sequence[str] = (),
    *,
    kind: Kind | None = None,
    values: Mapping[str, float] | None = None,
    split_column: str | None = None,
) -> MoleculeTable:
    """Read SMILES and labels from a csv, tsv or gzipped file in UTF-8.

    `label_columns` empty means every column but SMILES and split. `kind` None is inferred: classification where all
    labels are 0 or 1. `values` turns label text into numbers. Rows without any label are dropped and counted.
    Raises UserError: file missing, empty, not UTF-8, broken gzip; column missing or twice; a label that is no number
    (with its line); labels all missing; for classification a label that is not 0 or 1, or a column of one class; for
    regression a column of one value.
    """
    table = read_csv(path)
    split_columns = [] if split_column is None else [split_column]
    smiles_at = _column(table, smiles_column, "SMILES column", "--smiles")
    split_at = None if split_column is None else _column(table, split_column, "split column", "--split")
    names = list(label_columns) or [n for n in table.header if n not in (smiles_column, *split_columns)]
    if not names:
        raise UserError(f"{table.path} has no label column.", "Add one, or name it with --label.")
    at = [_column(table, name, "label column", "--label") for name in names]
    return _build(table, smiles_at, at, tuple(names), kind, values or {}, split_at)


def load_table(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> MoleculeTable:
    """The labelled data set of that name (or alias) in its catalogue columns, fetched if need be.

    Raises UserError like `read_table` and `locate`, or when the file has other columns than the data set.
    """
    dataset = get_dataset(name)
    located = locate(dataset.name, data_dir, progress)
    built = read_dataset(located.path, dataset)
    extra = {
        "dataset": dataset.name,
        "provider": located.provider,
        "origin": located.origin,
        "pinned": located.pinned,
        "usual_rows": dataset.rows,
        "licence": dataset.licence,
    }
    return replace(built, source={**built.source, **extra})


def read_dataset(path: str | Path, dataset: Dataset) -> MoleculeTable:
    """A file as that data set, in whichever of its known layouts; UserError like `read_table`, or for other columns."""
    table = read_csv(path)
    smiles_at, at, names = _match_columns(table, dataset)
    return _build(table, smiles_at, at, names, dataset.kind, dataset.values, None)


def _match_columns(table: CsvFile, dataset: Dataset) -> tuple[int, list[int], tuple[str, ...]]:
    """Positions of the SMILES column and of the L label columns, and the labels' names; UserError where one lacks."""
    remedy = f"This does not look like {dataset.name}; its columns are: {_listed(table.header)}."
    smiles_at = next((table.header.index(name) for name in dataset.smiles_columns if name in table.header), None)
    if smiles_at is None:
        raise UserError(f"{table.path} has no SMILES column ({' or '.join(dataset.smiles_columns)}).", remedy)
    if dataset.labels is None:
        skip = {*dataset.ignored, table.header[smiles_at]}
        at = [position for position, name in enumerate(table.header) if name not in skip]
        names = tuple(table.header[position] for position in at)
    else:
        at = []
        for aliases in dataset.labels:
            position = next((table.header.index(name) for name in aliases if name in table.header), None)
            if position is None:
                raise UserError(f"{table.path} has no label column {' or '.join(map(repr, aliases))}.", remedy)
            at.append(position)
        names = tuple(aliases[0] for aliases in dataset.labels)
    if len(at) != dataset.num_labels:
        raise UserError(f"{table.path} has {len(at)} label columns, {dataset.name} has {dataset.num_labels}.", remedy)
    return smiles_at, at, names


def _build(
    table: CsvFile,
    smiles_at: int,
    at: list[int],
    names: tuple[str, ...],
    kind: Kind | None,
    values: Mapping[str, float],
    split_at: int | None,
) -> MoleculeTable:
    labels = _numbers(table, at, names, values)
    labelled = np.flatnonzero(~np.isnan(labels).all(axis=1))
    if labelled.size == 0:
        raise UserError(
            f"{table.path}: every label is missing in {_listed(names)}.", "Name another column with --label."
        )
    labels, lines = labels[labelled], np.asarray(table.lines)[labelled]
    known = labels[~np.isnan(labels)]
    kind = kind or ("classification" if np.isin(known, (0.0, 1.0)).all() else "regression")
    _check_labels(str(table.path), labels, lines, names, kind)
    return MoleculeTable(
        smiles=[table.rows[row][smiles_at].strip() for row in labelled],
        labels=labels,
        label_names=names,
        kind=kind,
        lines=lines,
        split=None if split_at is None else [table.rows[row][split_at].strip() for row in labelled],
        source={
            "path": str(table.path),
            "sha256": table.sha256,
            "rows": len(table.rows),
            "rows_without_label": len(table.rows) - int(labelled.size),
        },
    )


def _numbers(table: CsvFile, at: list[int], names: tuple[str, ...], values: Mapping[str, float]) -> np.ndarray:
    labels = np.full((len(table.rows), len(at)), np.nan)
    known: dict[str, float] = dict(values)  # also a memo: labels repeat, parsing does not
    for label, position in enumerate(at):
        column = [cells[position] for cells in table.rows]
        for row, text in enumerate(column):
            if text not in known:
                known[text] = _number(text, table, row, names[label], values)
        labels[:, label] = list(map(known.__getitem__, column))
    return labels


def _number(text: str, table: CsvFile, row: int, name: str, values: Mapping[str, float]) -> float:
    stripped = text.strip()
    if stripped.casefold() in MISSING:
        return float("nan")
    if stripped in values:
        return values[stripped]
    try:
        number = float(stripped)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise UserError(
            f"{table.path}, line {table.lines[row]}: {text!r} in column {name!r} is not a number.",
            "Labels are finite numbers with a decimal point; leave the cell empty where the label is missing.",
        )
    return number


def _check_labels(path: str, labels: np.ndarray, lines: np.ndarray, names: tuple[str, ...], kind: Kind) -> None:
    for label, name in enumerate(names):
        column = labels[:, label]
        seen = np.unique(column[~np.isnan(column)])
        if seen.size == 0:
            raise UserError(f"{path}: column {name!r} has no label at all.", "Leave it out of --label.")
        wrong = np.flatnonzero(~(np.isnan(column) | np.isin(column, (0.0, 1.0))))
        if kind == "classification" and wrong.size:
            raise UserError(
                f"{path}, line {lines[wrong[0]]}: {column[wrong[0]]:g} in column {name!r}; a class is 0 or 1.",
                "Write classes as 0 and 1, or say --kind regression.",
            )
        if seen.size == 1:
            what = "class" if kind == "classification" else "value"
            raise UserError(
                f"{path}: column {name!r} has only one {what}, {seen[0]:g}: there is nothing to learn.",
                "Choose a column with both classes." if what == "class" else "Choose a column that varies.",
            )


def _column(table: CsvFile, name: str, what: str, option: str) -> int:
    places = [position for position, header in enumerate(table.header) if header == name]
    if not places:
        close = nearest(name, table.header)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UserError(
            f"{table.path} has no {what} {name!r}.{hint}",
            f"Its columns are: {_listed(table.header)}. Name one with {option}.",
        )
    first = [row[places[0]] for row in table.rows]
    if any([row[place] for row in table.rows] != first for place in places[1:]):
        raise UserError(f"{table.path} has {len(places)} different columns named {name!r}.", "Rename one of them.")
    return places[0]


def _listed(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
