"""Labelled texts: GLUE's files or a user's own CSV, TSV or JSONL; and unlabelled corpora."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpo_bench.data.corpus import _open_text
from hpo_bench.data.csvfile import read_csv
from hpo_bench.errors import UserError, unknown_name

TextKind = Literal["binary", "classes", "regression"]
VALID_SEED = 0
VALID_SHARE, VALID_LEAST, VALID_MOST = 0.1, 250, 2000


@dataclass(frozen=True)
class TextTable:
    """N rows of text. `labels` (N,): 0 or 1, a class number, or a value, by `kind`; `second` is there for pairs."""

    first: list[str]
    second: list[str] | None
    labels: np.ndarray
    kind: TextKind
    classes: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> TextTable:
        """Some rows, in that order."""
        second = None if self.second is None else [self.second[row] for row in rows]
        return TextTable(
            [self.first[row] for row in rows], second, self.labels[rows], self.kind, self.classes, self.source
        )

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
    """Train and valid out of a train file by a fixed seed: a tenth, 250 at least (a quarter of a small file), 2,000 at
    most. `rows` first draws so many rows of the file, for a shorter run.
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
    path: str | Path, text: str, label: str, kind: str, text2: str | None = None, score_range: str | None = None
) -> TextTable:
    """A user's CSV, TSV (`read_csv`) or JSONL (one object a line).

    Args:
        text, text2, label: column names; `text2` for pairs.
        kind: classification (two or more classes, any words or whole numbers) or regression.
        score_range: for regression, `0,5`: what a label may be.

    Raises UserError naming the line: an empty text, a missing or unreadable label, a label outside the range.
    """
    path = Path(path).expanduser()
    columns, lines, digest = _columns(path)
    wanted = [name for name in (text, text2, label) if name is not None]
    for name in wanted:
        if name not in columns:
            raise unknown_name("column", name, columns)
    texts = [_texts(path, columns[name], lines, name) for name in wanted[:-1]]
    cells = [cell.strip() for cell in columns[label]]
    for cell, line in zip(cells, lines, strict=True):
        if not cell:
            raise UserError(f"{path.name}, line {line}: no {label}.", "Give every row a label, or leave the row out.")
    classes: tuple[str, ...] = ()
    found: TextKind = "regression"
    if kind == "regression":
        labels = _values(path, cells, lines, label, score_range)
    elif kind == "classification":
        classes = tuple(sorted(set(cells)))
        _check_classes(path, classes, label, len(cells))
        labels = np.array([classes.index(cell) for cell in cells], dtype=np.float64)
        found = "binary" if len(classes) == 2 else "classes"
    else:
        raise unknown_name("kind of label", kind, ("classification", "regression"))
    source = {"file": path.name, "sha256": digest}
    return TextTable(texts[0], texts[1] if text2 else None, labels, found, classes, source)


def read_corpus(path: str | Path) -> tuple[list[str], dict[str, Any]]:
    """Unlabelled texts, one a line (plain, .gz or .xz), or the field `text` of a JSONL; blank lines are left out.

    Returns the texts and where they came from. Raises UserError: no such file, not UTF-8, nothing in it.
    """
    path = Path(path).expanduser()
    with _open_text(path) as stream:
        lines = [line.strip() for line in stream]
    if _is_jsonl(path):
        lines = [
            str(_object(path, number, line).get("text", "")).strip() for number, line in enumerate(lines, 1) if line
        ]
    texts = [line for line in lines if line]
    if not texts:
        raise UserError(f"{path} holds no text.", "Give one text a line, or JSONL with a field `text`.")
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return texts, {"file": path.name, "texts": len(texts), "blank_lines": len(lines) - len(texts), "sha256": digest}


def check_not_empty(where: str, texts: Sequence[str], lines: Sequence[int]) -> None:
    """Raise UserError for the first text that is empty or blank."""
    for text, line in zip(texts, lines, strict=True):
        if not text.strip():
            raise UserError(f"{where}, line {line}: the text is empty.", "Fill it in, or leave the row out.")


def _columns(path: Path) -> tuple[dict[str, list[str]], list[int], str]:
    """Columns by name, the line of each row, and the file's SHA-256."""
    if not _is_jsonl(path):
        table = read_csv(path)
        return {name: [row[i] for row in table.rows] for i, name in enumerate(table.header)}, table.lines, table.sha256
    with _open_text(path) as stream:
        numbered = [(number, line) for number, line in enumerate(stream, 1) if line.strip()]
    rows = [_object(path, number, line) for number, line in numbered]
    if not rows:
        raise UserError(f"{path} has nothing in it.", "Give one JSON object a line.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: ["" if row.get(name) is None else str(row[name]) for row in rows] for name in names}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return columns, [number for number, _ in numbered], digest


def _is_jsonl(path: Path) -> bool:
    return path.name.casefold().removesuffix(".gz").removesuffix(".xz").endswith((".jsonl", ".ndjson"))


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path.name}, line {number}: {error}.", "Give one JSON object a line.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path.name}, line {number}: not an object.", "Give one JSON object a line.")
    return found


def _texts(path: Path, cells: list[str], lines: list[int], name: str) -> list[str]:
    check_not_empty(f"{path.name}, column {name}", cells, lines)
    return [cell.strip() for cell in cells]


def _values(path: Path, cells: list[str], lines: list[int], label: str, score_range: str | None) -> np.ndarray:
    low, high = _range(score_range)
    values = []
    for cell, line in zip(cells, lines, strict=True):
        try:
            value = float(cell)
        except ValueError as error:
            raise UserError(
                f"{path.name}, line {line}: {label} is {cell!r}, which is no number.", "Give kind=classification?"
            ) from error
        if not low <= value <= high or not np.isfinite(value):
            raise UserError(
                f"{path.name}, line {line}: {label} is {cell}, outside {low:g} to {high:g}.", "Put the label right."
            )
        values.append(value)
    return np.array(values, dtype=np.float64)


def _range(text: str | None) -> tuple[float, float]:
    if text is None:
        return -np.inf, np.inf
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"cannot read the range {text!r}", "write it as 0,5") from error
    return low, high


def _check_classes(path: Path, classes: tuple[str, ...], label: str, rows: int) -> None:
    if len(classes) < 2:
        raise UserError(f"{path.name}: {label} has one class only, {classes[0]!r}.", "Two classes are needed at least.")
    if len(classes) > max(20, rows // 10):
        raise UserError(
            f"{path.name}: {label} has {len(classes)} classes in {rows} rows.", "Is it a number? Give kind=regression."
        )
