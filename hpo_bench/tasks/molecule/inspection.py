"""What a person should know about a table of molecules before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

from hpo_bench.data.notices import Notices
from hpo_bench.data.repeats import Repeats
from hpo_bench.data.smiles import ParsedSmiles, count_atom_maps, rows_with_blank
from hpo_bench.data.splits import Split
from hpo_bench.data.table import MoleculeTable


def inspect_rows(notices: Notices, table: MoleculeTable, parsed: ParsedSmiles) -> None:
    """Rows that are left out, and how words were read; `table` is whole, `parsed` says which rows RDKit can read.

    Raises UserError where more is left out than `Notices` lets pass.
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
    Raises UserError where more leaks than `Notices` lets pass.
    """
    parts = split.parts()
    if repeats.rows:
        told = f", {repeats.conflicting:,} of them with conflicting labels" if repeats.conflicting else ""
        notices.say(
            f"{repeats.rows:,} of {len(table):,} rows repeat an earlier one of {repeats.groups:,} molecules{told}"
        )
    notices.leakage("molecules", {name: [canonical[row] for row in rows] for name, rows in parts.items()})
    outside = len(table) - sum(len(rows) for rows in parts.values())
    if outside:
        notices.say(f"{outside:,} of {len(table):,} rows have no word in the split column and are in no split")
    for name, labels in scored.items():
        if len(labels) < len(table.label_names):
            left_out = len(table.label_names) - len(labels)
            notices.say(
                f"{left_out} of {len(table.label_names)} labels have one class alone in {name} and are not scored"
            )
    if table.kind == "classification" and len(table.label_names) == 1:
        counts = {
            name: {str(code): int((table.labels[rows, 0] == code).sum()) for code in (0, 1)}
            for name, rows in parts.items()
        }
        notices.scarce(f"label {table.label_names[0]!r}", counts)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
