"""Labelled texts: GLUE's files or a user's own table; and unlabelled corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpo_bench.data.digest import digest_of
from hpo_bench.data.tables.file import read_table_file
from hpo_bench.data.tables.objects import is_json
from hpo_bench.data.tables.opening import read_text
from hpo_bench.data.tables.rows import TableFile
from hpo_bench.data.tables.values import classes, number, numbers, tidy
from hpo_bench.errors import UserError, unknown_name

TextKind = Literal["binary", "classes", "regression"]
VALID_SEED = 0
VALID_SHARE, VALID_LEAST, VALID_MOST = 0.1, 250, 2000


@dataclass(frozen=True)
class TextTable:
    """N rows of text. `labels` (N,): 0 or 1, a class number, or a value, by `kind`; `second` is there for pairs.

    `source` goes into the record; `notices` are sentences on what was guessed or left out.
    """

    first: list[str]
    second: list[str] | None
    labels: np.ndarray
    kind: TextKind
    classes: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> TextTable:
        """Some rows, in that order."""
        second = None if self.second is None else [self.second[row] for row in rows]
        return replace(self, first=[self.first[row] for row in rows], second=second, labels=self.labels[rows])

    def sentences(self) -> list[str]:
        """Every different text once, in the order of first appearance: the corpus of task-adaptive pretraining."""
        return list(dict.fromkeys([*self.first, *(self.second or [])]))


@dataclass(frozen=True)
class TextSplits:
    """Three tables of one kind."""

    train: TextTable
    valid: TextTable
    test: TextTable


def cut_valid(train: TextTable, rows: int | None = None) -> tuple[TextTable, TextTable]:
    """Train and valid out of a train file by a fixed seed.

    Valid is a tenth, 250 rows at least (a quarter of a small file), 2,000 at most. `rows` first draws so many rows of
    the file, for a shorter run.
    """
    order = np.random.default_rng(VALID_SEED).permutation(len(train))[:rows]
    size = int(min(max(VALID_SHARE * len(order), min(VALID_LEAST, len(order) // 4)), VALID_MOST))
    if size < 1:
        raise UserError(f"{len(order)} labelled texts are too few to cut a valid split from", "give 8 at least")
    return train.take(np.sort(order[size:])), train.take(np.sort(order[:size]))


def split_table(table: TextTable, rows: int | None = None) -> TextSplits:
    """A table without a test file: a tenth is test (by the fixed seed), the rest as `cut_valid` does it."""
    order = np.random.default_rng(VALID_SEED + 1).permutation(len(table))
    size = max(1, len(table) // 10)
    train, valid = cut_valid(table.take(np.sort(order[size:])), rows)
    return TextSplits(train, valid, table.take(np.sort(order[:size])))


def read_texts(
    path: str | Path,
    text: str,
    label: str | Sequence[str],
    kind: str,
    text2: str | None = None,
    score_range: str | None = None,
    quoting: str = "standard",
) -> TextTable:
    """A user's table (see `tables.file`).

    Args:
        text, text2, label: column names; `text2` for pairs. A label in parts was parted at the commas of its name.
        kind: classification (two or more classes, any words or numbers) or regression.
        score_range: for regression, `0,5`: what a label may be.

    Rows without a label or with an empty text are left out and counted: `source` has `rows`, `skipped` and the first
    line of each kind.

    Raises:
        UserError: an unreadable label, one outside the range, half a character; the line is named.
    """
    if kind not in ("classification", "regression"):
        raise unknown_name("kind of label", kind, ("classification", "regression"))
    table = read_table_file(path, quoting)
    wanted = [table.place(name, "text column", "--task-option text") for name in (text, text2) if name is not None]
    at = table.places([label] if isinstance(label, str) else label, "label column", "--label")
    if len(at) != 1:
        raise UserError(f"the task text has one label, not {len(at)}", "give one column with --label")
    table.check_apart([*wanted, *at])
    names: tuple[str, ...] = ()
    found: TextKind = "regression"
    notices: list[str] = []
    if kind == "regression":
        labels = numbers(table, at[0])
        _check_range(table, at[0], labels, score_range)
    else:
        read = classes(table, at[0])
        names, labels, found = read.names, read.codes, "binary" if len(read.names) == 2 else "classes"
        notices += [read.note] if read.note else []
        _check_classes(table, names, at[0])
    columns = [_texts(table, place) for place in wanted]
    empty = np.array([not all(map(tidy, row)) for row in zip(*columns, strict=True)], dtype=bool)
    unlabelled = np.isnan(labels)
    kept = np.flatnonzero(~(empty | unlabelled))
    _check_varies(table, at[0], labels[kept], names)
    source = {
        "file": table.path.name,
        "sha256": table.sha256,
        "rows": len(table.rows),
        "rows_without_label": int(unlabelled.sum()),
        "rows_without_text": int((empty & ~unlabelled).sum()),
        "first_without_label": _first_line(table, unlabelled),
        "first_without_text": _first_line(table, empty & ~unlabelled),
    }
    whole = TextTable(columns[0], columns[1] if text2 else None, labels, found, names, source, tuple(notices))
    return whole.take(kept)


def read_corpus(path: str | Path) -> tuple[list[str], dict[str, Any]]:
    """Unlabelled texts: one a line, or the column `text` of a CSV, TSV or JSON table; blank ones are left out.

    Returns the texts and where they came from.

    Raises:
        UserError: a file that cannot be read, no such column, no text.
    """
    opened = read_text(path)
    tabular = opened.name.endswith((".csv", ".tsv", ".tab")) or is_json(opened)
    if tabular:
        table = read_table_file(path)
        lines = _texts(table, table.place("text", "column", "`text` in the header"))
    else:
        lines = [line.strip() for line in opened.lines()]
    texts = [line for line in lines if tidy(line)]
    if not texts:
        raise UserError(f"{opened.path} holds no text.", "Give one text a line, or a table with a column `text`.")
    return texts, {
        "file": opened.path.name,
        "texts": len(texts),
        ("rows_without_text" if tabular else "blank_lines"): len(lines) - len(texts),
        "repeats": len(texts) - len(set(texts)),
        "sha256": digest_of(texts),
    }


def doubts_of_corpus(source: Mapping[str, Any]) -> list[str]:
    """What a person should know about a corpus, of what `read_corpus` says of it."""
    said, texts, without = [], source["texts"], source.get("rows_without_text", 0)
    if without:
        said.append(f"{without:,} of {texts + without:,} rows of {source['file']} have no text and are left out")
    if source["repeats"]:
        said.append(f"{source['repeats']:,} of the {texts:,} texts of {source['file']} repeat an earlier one")
    return said


def check_not_empty(where: str, texts: Sequence[str], lines: Sequence[int]) -> None:
    """Raise UserError for the first text that is empty or blank."""
    for text, line in zip(texts, lines, strict=True):
        if not text.strip():
            raise UserError(f"{where}, line {line}: the text is empty.", "Fill it in, or leave the row out.")


def _texts(table: TableFile, place: int) -> list[str]:
    """A column of texts, blanks at their ends taken off."""
    return [cell.strip() for cell in table.column(place)]


def _first_line(table: TableFile, rows: np.ndarray) -> int | None:
    return table.lines[int(np.argmax(rows))] if rows.any() else None


def _check_range(table: TableFile, place: int, labels: np.ndarray, score_range: str | None) -> None:
    low, high = _range(score_range)
    outside = np.flatnonzero((labels < low) | (labels > high))
    if outside.size:
        row = int(outside[0])
        raise UserError(
            f"{table.at(table.lines[row])}: {table.header[place]} is {labels[row]:.17g}, outside {low:g} to {high:g}.",
            "Put the label right.",
        )


def _range(text: str | None) -> tuple[float, float]:
    if text is None:
        return -np.inf, np.inf
    ends = [number(part.strip()) for part in str(text).split(",")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        raise UserError(f"cannot read the range {text!r}", "write it as 0,5")
    return ends[0], ends[1]


def _check_classes(table: TableFile, names: tuple[str, ...], place: int) -> None:
    rows, label = len(table.rows), table.header[place]
    if len(names) > max(20, rows // 10):
        raise UserError(
            f"{table.path}: {label} has {len(names)} classes in {rows} rows.", "Is it a number? Give --kind regression."
        )


def _check_varies(table: TableFile, place: int, labels: np.ndarray, names: tuple[str, ...]) -> None:
    """Raise UserError where no row is left, or all labels are the same."""
    label = table.header[place]
    if labels.size == 0:
        raise UserError(f"{table.path}: no row has a text and a label.", "Name other columns with --label and text=…")
    if np.ptp(labels) == 0:
        shown = repr(names[int(labels[0])]) if names else f"{labels[0]:.17g}"
        what = "one class" if names else "one value"
        left_out = len(table.rows) - labels.size
        where = f" in the {labels.size:,} of {len(table.rows):,} rows that have a text and a label" if left_out else ""
        raise UserError(
            f"{table.path}: {label} has {what} only{where}, {shown}: there is nothing to learn.",
            "Fill in what is missing, or choose a column that varies." if left_out else "Choose a column that varies.",
        )
