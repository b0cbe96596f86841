"""What a person should know about a table of molecules before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpo_bench.data.notices import FEW, UNLIKE, Notices
from hpo_bench.data.repeats import Repeats
from hpo_bench.data.smiles import ParsedSmiles, count_atom_maps, rows_with_blank
from hpo_bench.data.splits import Split
from hpo_bench.data.table import MoleculeTable
from hpo_bench.data.tables.rows import listed

_PLACEHOLDER = "hold a placeholder (*) for an atom, of which nothing is known"


def inspect_rows(notices: Notices, table: MoleculeTable, parsed: ParsedSmiles) -> None:
    """Rows that are left out, and how words were read; `table` is whole, `parsed` says which rows RDKit can read.

    Raises:
        UserError: more is left out than `Notices` lets pass.
    """
    notices.say(*table.notices)
    source = table.source
    without = source.get("rows_without_label", 0)
    notices.count(without, source.get("rows", len(table)), "rows have no label and are left out")
    if parsed.skipped:
        row, text = parsed.skipped[0]
        first = f"first: line {table.lines[row]} of {Path(source.get('path', 'the table')).name}, {_short(text)!r}"
        notices.count(len(parsed.skipped), len(table), f"SMILES cannot be read by RDKit and are left out; {first}")
    if cut := rows_with_blank(table.smiles):
        first = f"first: line {table.lines[cut[0]]}, {_short(table.smiles[cut[0]])!r}"
        notices.count(len(cut), len(table), f"SMILES hold a blank, and are read up to it alone; {first}")
    if mapped := count_atom_maps(table.smiles):
        notices.say(f"{mapped:,} SMILES carry atom-map numbers, which are taken off")
    for mark, told in ((".", "are of several parts (salts, mixtures), all of which are read"), ("*", _PLACEHOLDER)):
        if found := [row for row, text in zip(parsed.kept, parsed.canonical, strict=True) if mark in text]:
            notices.say(f"{len(found):,} of {len(table):,} molecules {told}; first: line {table.lines[found[0]]}")


def inspect_splits(
    notices: Notices,
    table: MoleculeTable,
    canonical: list[str],
    split: Split,
    repeats: Repeats,
    scored: dict[str, list[str]],
) -> None:
    """Molecules in two splits at once, labels that cannot be scored, classes with hardly a row.

    `table` and `canonical` (N,) hold the rows that RDKit can read; `scored` are the labels that count, by split.

    Raises:
        UserError: more leaks than `Notices` lets pass.
    """
    parts = split.parts()
    if repeats.rows:
        told = f", {repeats.conflicting:,} of them with conflicting labels" if repeats.conflicting else ""
        notices.say(
            f"{repeats.rows:,} of {len(table):,} rows repeat an earlier one of {repeats.groups:,} molecules{told}"
        )
    notices.leakage("molecules", {name: [canonical[row] for row in rows] for name, rows in parts.items()})
    if salts := _alike_but_for_salts(canonical, parts):
        notices.say(f"molecules that are in two splits but for salts or solvents: {', '.join(salts)}")
    outside = len(table) - sum(len(rows) for rows in parts.values())
    if outside:
        notices.say(f"{outside:,} of {len(table):,} rows have no word in the split column and are in no split")
    _inspect_labels(notices, table, parts, scored)


def _inspect_labels(
    notices: Notices, table: MoleculeTable, parts: dict[str, np.ndarray], scored: dict[str, list[str]]
) -> None:
    several = len(table.label_names)
    lack = "two values" if table.kind == "regression" else "both classes"
    for name, labels in scored.items():
        left_out = [label for label in table.label_names if label not in labels]
        if name == "train":  # a split's score is a mean over the labels that it can be told of, learned or not
            left_out = [label for label in left_out if label in {*scored["valid"], *scored["test"]}]
            told = f"do not have {lack} in train, so nothing is learned of them, and count in scores all the same"
        else:
            told = f"do not have {'a value' if table.kind == 'regression' else lack} in {name} and are not scored there"
        if left_out:
            notices.say(f"{len(left_out)} of {several} labels {told}: {listed(left_out, 5)}")
    if table.kind == "regression":
        notices.small({name: len(rows) for name, rows in parts.items()})
        _inspect_values(notices, table)
    elif several == 1:
        counts = {name: _classes(table.labels[rows, 0]) for name, rows in parts.items()}
        notices.scarce(f"label {table.label_names[0]!r}", counts)
    else:
        for name in ("valid", "test"):
            of_label = dict(zip(table.label_names, table.labels[parts[name]].T, strict=True))
            thin = [label for label in scored[name] if min(_classes(of_label[label]).values()) < FEW]
            if thin:
                notices.say(
                    f"{len(thin)} of {len(scored[name])} labels scored in {name} have fewer than {FEW} rows of a class "
                    f"there, and their scores hang on single rows: {listed(thin, 5)}"
                )


def _inspect_values(notices: Notices, table: MoleculeTable) -> None:
    """Labels that are numbers, over the whole table."""
    spread: dict[str, float] = {}
    for name, column in zip(table.label_names, table.labels.T, strict=True):
        values = np.unique(column[~np.isnan(column)])
        if len(values) == 2:
            notices.say(f"label {name!r} has two values alone, {values[0]:g} and {values[1]:g}: is it a class?")
        if len(values) > 1:
            spread[name] = float(values[-1] - values[0])
            notices.far(f"label {name!r}", column, table.lines)
    small, large = min(spread, key=spread.__getitem__), max(spread, key=spread.__getitem__)
    if (times := spread[large] / spread[small]) > UNLIKE:
        notices.say(
            f"label {large!r} spreads {times:,.0f} times as far as {small!r}: a score is a mean over labels in their "
            "own units, which the larger decide"
        )


def _classes(column: np.ndarray) -> dict[str, int]:
    """How many rows are of each class."""
    return {str(code): int((column == code).sum()) for code in (0, 1)}


def _alike_but_for_salts(canonical: list[str], parts: dict[str, np.ndarray]) -> list[str]:
    """`3 of test are in train`, by the largest part of a molecule, where the whole molecule is not there."""
    if not any("." in text for text in canonical):
        return []
    largest = [max(text.split("."), key=len) for text in canonical]
    told = []
    for number, (name, rows) in enumerate(parts.items()):
        for earlier in list(parts)[:number]:
            whole, core = ({texts[row] for row in parts[earlier]} for texts in (canonical, largest))
            both = sum(largest[row] in core and canonical[row] not in whole for row in rows)
            told += [f"{both:,} of {name} are in {earlier}"] if both else []
    return told


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
