"""Molecules with labels: a catalogue set's file or the user's own. Every fault names its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench.data.catalogue import Dataset, Kind, get_dataset
from hpo_bench.data.providers import Progress, locate
from hpo_bench.data.tables.file import read_table_file
from hpo_bench.data.tables.rows import TableFile, listed
from hpo_bench.data.tables.values import classes, is_clear, is_split_column, numbers, tidy
from hpo_bench.errors import UserError


@dataclass(frozen=True)
class MoleculeTable:
    """N molecules with L labels.

    `labels` (N, L) float64 in the file's units, NaN = missing; `lines` (N,) the line of the file that each row stands
    on; `split` the user's split column, or None. `source` goes into the record: path, sha256, rows, dropped rows;
    `notices` are sentences on what was guessed or left out.
    """

    smiles: list[str]
    labels: np.ndarray
    label_names: tuple[str, ...]
    kind: Kind
    lines: np.ndarray
    split: list[str] | None = None
    source: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    split_columns: tuple[str, ...] = ()  # columns whose cells are mostly train, valid or test

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
    split_column: str | None = None,
    quoting: str = "standard",
) -> MoleculeTable:
    """Read SMILES and labels from any table (see `tables.file`).

    `label_columns` empty means every column but SMILES and split. `kind` None is inferred: classification where all
    labels are 0 or 1. For classification, words whose meaning is clear (`tables.values.PAIRS`) are 1 and 0, and a
    notice says which. Rows without any label are dropped and counted.

    Raises:
        UserError: a file that cannot be read; no such column; a label that is no number (with its line); labels all
            missing; for classification classes that are not clearly 0 and 1, or a column of one class; for regression a
            column of one value.
    """
    table = read_table_file(path, quoting)
    smiles_at = table.place(smiles_column, "SMILES column", "--smiles")
    split_at = None if split_column is None else table.place(split_column, "split column", "--split")
    if label_columns:
        at = table.places(label_columns, "label column", "--label")
    else:
        at = [place for place in range(len(table.header)) if place not in (smiles_at, split_at)]
    if not at:
        raise UserError(f"{table.path} has no label column.", "Add one, or name it with --label.")
    table.check_apart([smiles_at, *at, *([] if split_at is None else [split_at])])
    return _build(table, smiles_at, at, tuple(table.header[place] for place in at), kind, {}, split_at)


def load_table(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> MoleculeTable:
    """The labelled data set of that name (or alias) in its catalogue columns, fetched if need be.

    Raises:
        UserError: it cannot be had or read (see `locate`, `read_table`), or has other columns than the data set.
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
    """A file as that data set, in whichever of its known layouts.

    Raises:
        UserError: as `read_table`, or it has other columns.
    """
    table = read_table_file(path)
    smiles_at, at, names = _match_columns(table, dataset)
    return _build(table, smiles_at, at, names, dataset.kind, dataset.values, None)


def _match_columns(table: TableFile, dataset: Dataset) -> tuple[int, list[int], tuple[str, ...]]:
    """Positions of the SMILES column and of the L label columns, and the labels' names.

    Raises:
        UserError: a column is missing.
    """
    remedy = f"This does not look like {dataset.name}; its columns are: {listed(table.header)}."
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
    table: TableFile,
    smiles_at: int,
    at: list[int],
    names: tuple[str, ...],
    kind: Kind | None,
    values: Mapping[str, float],
    split_at: int | None,
) -> MoleculeTable:
    notices: list[str] = []
    labels = np.empty((len(table.rows), len(at)))
    for column, place in enumerate(at):
        if kind == "classification" and not values:
            labels[:, column], note = _zero_or_one(table, place)
            notices += [note] if note else []
        else:
            labels[:, column] = numbers(table, place, values)
    labelled = np.flatnonzero(~np.isnan(labels).all(axis=1))
    if labelled.size == 0:
        raise UserError(
            f"{table.path}: every label is missing in {listed(names)}.", "Name another column with --label."
        )
    without = len(table.rows) - int(labelled.size)
    labels, lines = labels[labelled], np.asarray(table.lines)[labelled]
    known = labels[~np.isnan(labels)]
    kind = kind or ("classification" if np.isin(known, (0.0, 1.0)).all() else "regression")
    _check_labels(table, labels, lines, names, kind)
    return MoleculeTable(
        smiles=[tidy(table.rows[row][smiles_at]) for row in labelled],
        labels=labels,
        label_names=names,
        kind=kind,
        lines=lines,
        split=None if split_at is None else [tidy(table.rows[row][split_at]) for row in labelled],
        source={
            "path": str(table.path),
            "sha256": table.sha256,
            "rows": len(table.rows),
            "rows_without_label": without,
        },
        notices=tuple(notices),
        split_columns=tuple(
            name
            for place, name in enumerate(table.header)
            if is_split_column([cells[place] for cells in table.rows[:500]])
        ),
    )


def _zero_or_one(table: TableFile, place: int) -> tuple[np.ndarray, str]:
    """A column's classes as 0 and 1 (N,), NaN where missing, and how words were read."""
    found = classes(table, place)
    if is_clear(found.names):
        return (found.codes + (found.names == ("1",)), found.note)
    name = table.header[place]
    if len(found.names) == 1:
        raise UserError(
            f"{table.path}: column {name!r} has only one class, {found.names[0]}: there is nothing to learn.",
            "Choose a column with both classes.",
        )
    usual = [word for word in found.names if word not in ("0", "1")]
    code = found.names.index(usual[0]) if usual else 0
    row = int(np.flatnonzero(found.codes == code)[0]) if usual else 0
    raise UserError(
        f"{table.at(table.lines[row])}: {table.rows[row][place]!r} in column {name!r}; a class is 0 or 1, and which is "
        f"which cannot be told of {listed(found.names, 6)}.",
        "Write classes as 0 and 1 (active/inactive, yes/no, true/false and positive/negative are read too), or say "
        "--kind regression.",
    )


def _check_labels(table: TableFile, labels: np.ndarray, lines: np.ndarray, names: tuple[str, ...], kind: Kind) -> None:
    for label, name in enumerate(names):
        column = labels[:, label]
        seen = np.unique(column[~np.isnan(column)])
        if seen.size == 0:
            raise UserError(f"{table.path}: column {name!r} has no label at all.", "Leave it out of --label.")
        wrong = np.flatnonzero(~(np.isnan(column) | np.isin(column, (0.0, 1.0))))
        if kind == "classification" and wrong.size:
            raise UserError(
                f"{table.at(lines[wrong[0]])}: {column[wrong[0]]:g} in column {name!r}; a class is 0 or 1.",
                "Write classes as 0 and 1, or say --kind regression.",
            )
        if seen.size == 1:
            what = "class" if kind == "classification" else "value"
            raise UserError(
                f"{table.path}: column {name!r} has only one {what}, {seen[0]:.17g}: there is nothing to learn.",
                "Choose a column with both classes." if what == "class" else "Choose a column that varies.",
            )
