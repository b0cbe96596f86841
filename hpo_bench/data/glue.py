"""GLUE: from its own TSV files in the data folder, else through `datasets` from the hub.

Wang et al. 2019, arXiv 1804.07461. Dev is test, because GLUE's test labels are not public; valid is cut from train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpo_bench.data.hub import load_hub_dataset
from hpo_bench.data.providers import Progress, resolve_data_dir
from hpo_bench.data.tables.opening import read_text
from hpo_bench.data.tables.values import number
from hpo_bench.data.text_table import TextKind, TextSplits, TextTable, check_not_empty, cut_valid
from hpo_bench.errors import UserError, unknown_name

HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class GlueSet:
    """One task of GLUE: its folder, the columns (names, or numbers where a file has no header), and its labels.

    `labels` turns words into class numbers (the hub's own numbers); empty for numbers. `hub_columns` are the texts'
    names on the hub, `hub_dev` the split that is test here.
    """

    name: str
    folder: str
    kind: TextKind
    metric: str
    texts: tuple[str | int, ...]
    label: str | int
    hub_columns: tuple[str, ...]
    labels: Mapping[str, int] = field(default_factory=lambda: {"0": 0, "1": 1})
    dev: str = "dev"
    hub_dev: str = "validation"
    low: float = 0.0
    high: float = 1.0


_PAIR, _QQP, _QNLI = ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence")
_NLI = {"entailment": 0, "not_entailment": 1}
GLUE: Mapping[str, GlueSet] = {
    one.name: one
    for one in (
        GlueSet("cola", "CoLA", "binary", "matthews", (3,), 1, ("sentence",)),
        GlueSet("sst2", "SST-2", "binary", "accuracy", ("sentence",), "label", ("sentence",)),
        GlueSet("mrpc", "MRPC", "binary", "accuracy_f1", ("#1 String", "#2 String"), "Quality", _PAIR),
        GlueSet("stsb", "STS-B", "regression", "pearson_spearman", _PAIR, "score", _PAIR, {}, high=5.0),
        GlueSet("qqp", "QQP", "binary", "accuracy", _QQP, "is_duplicate", _QQP),
        GlueSet(
            "mnli", "MNLI", "classes", "accuracy", _PAIR, "gold_label", ("premise", "hypothesis"),
            {"entailment": 0, "neutral": 1, "contradiction": 2}, "dev_matched", "validation_matched",
        ),
        GlueSet("qnli", "QNLI", "binary", "accuracy", _QNLI, "label", _QNLI, _NLI),
        GlueSet("rte", "RTE", "binary", "accuracy", _PAIR, "label", _PAIR, _NLI),
    )
}  # fmt: skip


def load_glue(
    name: str, data_dir: str | Path | None = None, rows: int | None = None, progress: Progress | None = None
) -> TextSplits:
    """Train and valid (cut from train by a fixed seed; `rows` as in `cut_valid`), and dev as test.

    Raises:
        UserError: no such task, files that cannot be read, or found nowhere (it names all that was tried).
    """
    if name not in GLUE:
        raise unknown_name("GLUE task", name, GLUE)
    one = GLUE[name]
    folder = resolve_data_dir(data_dir)
    attempts = []
    if folder is None:
        attempts.append("--data-dir / HPO_BENCH_DATA: not given")
    for root in () if folder is None else (folder, folder / "glue"):
        files = [_find(root / one.folder, part) for part in ("train", one.dev)]
        if all(files):
            train, test = (read_glue(file, one) for file in files if file is not None)
            if len(test) > len(train):
                told = f"{one.dev}.tsv has {len(test):,} rows, more than train.tsv, {len(train):,}: were they swapped?"
                train = replace(train, notices=(*train.notices, told))
            return TextSplits(*cut_valid(train, rows), test)
        attempts.append(f"{root / one.folder}: no train.tsv and {one.dev}.tsv (also .gz)")
    if progress is not None:
        progress(f"{name}: trying the hub, {HUB}")
    try:
        train, test = _from_hub(one)
    except Exception as error:  # whatever the hub's client raises
        attempts.append(f"datasets.load_dataset({HUB!r}, {name!r}): {_first_line(error)}")
        tried = "\n".join(f"  {number}. {attempt}" for number, attempt in enumerate(attempts, 1))
        raise UserError(
            f"The GLUE task {name!r} could not be found. Tried:\n{tried}",
            f"Pass --data-dir FOLDER (or set HPO_BENCH_DATA) with {one.folder}/train.tsv and "
            f"{one.folder}/{one.dev}.tsv in it, as GLUE distributes them.",
        ) from error
    return TextSplits(*cut_valid(train, rows), test)


def read_glue(path: Path, one: GlueSet) -> TextTable:
    """One of GLUE's TSV files: no quoting, a header unless the columns are numbers.

    Raises:
        UserError: too few cells, an unknown label, a score outside the range, an empty text; the line is named.
    """
    opened = read_text(path)
    rows = [(number, line.split("\t")) for number, line in enumerate(opened.lines(), 1) if line]
    numbered = isinstance(one.label, int)
    header = [] if numbered else rows.pop(0)[1] if rows else []
    places = [_place(path, header, column) for column in (*one.texts, one.label)]
    texts: list[list[str]] = [[] for _ in one.texts]
    labels, lines = [], []
    width = len(header) or len(rows[0][1]) if rows else 0
    longer = [line for line, cells in rows if len(cells) > width]
    for line, cells in rows:
        if len(cells) <= max(places):
            raise UserError(
                f"{path.name} of {one.name}, line {line}: {len(cells)} cells, {max(places) + 1} are needed.",
                "Is this GLUE's own file, with tabs between the columns?",
            )
        for column, place in zip(texts, places, strict=False):
            column.append(cells[place].strip())
        labels.append(_label(path, one, line, cells[places[-1]].strip()))
        lines.append(line)
    if not labels:
        raise UserError(f"{path} has no rows.", "Copy GLUE's file again.")
    for column in texts:
        check_not_empty(f"{path.name} of {one.name}", column, lines)
    source = {"provider": "data-dir", "sha256": opened.sha256}
    second = texts[1] if len(texts) == 2 else None
    told = f"{len(longer):,} of {len(rows):,} rows of {path.name} have more than {width} cells: a text may end at a tab"
    notices = (f"{told}; first: line {longer[0]}",) if longer else ()
    return TextTable(texts[0], second, np.array(labels, np.float64), one.kind, tuple(one.labels), source, notices)


def _find(folder: Path, part: str) -> Path | None:
    return next((p for p in (folder / f"{part}.tsv", folder / f"{part}.tsv.gz") if p.is_file()), None)


def _place(path: Path, header: list[str], column: str | int) -> int:
    if isinstance(column, int):
        return column
    if column not in header:
        raise UserError(f"{path} has no column {column!r}.", f"Its columns are: {', '.join(header) or 'none'}.")
    return header.index(column)


def _label(path: Path, one: GlueSet, line: int, cell: str) -> float:
    """A cell as a label, checked against what the task allows."""
    where = f"{path.name} of {one.name}, line {line}: the label is {cell!r}"
    if one.labels:
        if cell not in one.labels:
            raise UserError(f"{where}, which is none of {', '.join(one.labels)}.", "Put the label right.")
        return float(one.labels[cell])
    value = number(cell)
    if value is None:
        raise UserError(f"{where}, which is no number.", "Put the label right.")
    if not one.low <= value <= one.high:
        raise UserError(f"{where}, outside {one.low:g} to {one.high:g}.", "Put the label right.")
    return value


def _from_hub(one: GlueSet) -> tuple[TextTable, TextTable]:
    found = load_hub_dataset(HUB, one.name)

    def table(part: str) -> TextTable:
        rows = found[part]
        texts = [list(rows[column]) for column in one.hub_columns]
        second = texts[1] if len(texts) == 2 else None
        source = {"provider": "hub", "dataset": HUB, "fingerprint": rows._fingerprint}
        return TextTable(texts[0], second, np.array(rows["label"], np.float64), one.kind, tuple(one.labels), source)

    return table("train"), table(one.hub_dev)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]
