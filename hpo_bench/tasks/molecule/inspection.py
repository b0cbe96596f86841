"""What a person should know about a table of molecules before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpo_bench.data.notices import Notices
from hpo_bench.data.repeats import Repeats
from hpo_bench.data.smiles import ParsedSmiles, count_atom_maps, rows_with_blank
from hpo_bench.data.splits import Split
from hpo_bench.data.table import MoleculeTable

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
    for name, labels in scored.items():
        if len(labels) < len(table.label_names):
            left_out = len(table.label_names) - len(labels)
            notices.say(
                f"{left_out} of {len(table.label_names)} labels have one class alone in {name} and are not scored"
            )
    if table.kind == "regression":
        notices.small({name: len(rows) for name, rows in parts.items()})
        for name, column in zip(table.label_names, table.labels.T, strict=True):
            if len(values := np.unique(column[~np.isnan(column)])) == 2:
                notices.say(f"label {name!r} has two values alone, {values[0]:g} and {values[1]:g}: is it a class?")
    elif len(table.label_names) == 1:
        counts = {
            name: {str(code): int((table.labels[rows, 0] == code).sum()) for code in (0, 1)}
            for name, rows in parts.items()
        }
        notices.scarce(f"label {table.label_names[0]!r}", counts)


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
