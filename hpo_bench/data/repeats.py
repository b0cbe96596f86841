"""Molecules or texts that a table holds more than once, and whether their labels agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Repeats:
    """`rows` that repeat an earlier molecule, `groups` of equal molecules, `conflicting` groups among them."""

    rows: int
    groups: int
    conflicting: int


def find_repeats(canonical: Sequence[str], labels: np.ndarray) -> Repeats:
    """Equal canonical SMILES (N,) are one molecule; its rows conflict where two known labels (N, L) of a column differ.

    Nothing is dropped: the counts go into the record, and whoever reads a score can weigh them.
    """
    counts = Counter(canonical)
    rows_of: dict[str, list[int]] = {smiles: [] for smiles, count in counts.items() if count > 1}
    for row, smiles in enumerate(canonical):
        if smiles in rows_of:
            rows_of[smiles].append(row)
    return Repeats(
        rows=len(canonical) - len(counts),
        groups=len(rows_of),
        conflicting=sum(_conflict(labels[rows]) for rows in rows_of.values()),
    )


def _conflict(values: np.ndarray) -> bool:
    """Does a column of (rows, L) hold two different known values?"""
    known = [column[~np.isnan(column)] for column in values.T]
    return any(column.size > 1 and bool((column != column[0]).any()) for column in known)
