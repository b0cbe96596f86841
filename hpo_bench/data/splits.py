"""Train, valid and test indices: by scaffold, by balanced scaffold, at random, or from the user's own column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hpo_bench.data.smiles import scaffolds
from hpo_bench.data.table import MoleculeTable
from hpo_bench.data.tables.values import SPLIT_WORDS
from hpo_bench.errors import UserError, nearest, unknown_name

SplitKind = Literal["scaffold", "balanced-scaffold", "random", "column"]
SPLIT_KINDS: tuple[SplitKind, ...] = ("scaffold", "balanced-scaffold", "random", "column")
FRACTIONS = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Split:
    """Three disjoint index arrays (int64) into N rows; all rows are covered, but for the user's own column."""

    kind: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def parts(self) -> dict[str, np.ndarray]:
        """The arrays by name, in the order train, valid, test."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the three index arrays: two runs with the same one saw the same split."""
        digest = hashlib.sha256()
        for part in self.parts().values():
            digest.update(np.asarray([part.size], dtype="<i8").tobytes() + part.astype("<i8").tobytes())
        return digest.hexdigest()


def make_split(
    table: MoleculeTable,
    kind: SplitKind = "scaffold",
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    workers: int = 1,
) -> Split:
    """Split a table whose SMILES all parse. `seed` matters to `balanced-scaffold` and `random` alone.

    Raises:
        UserError: an unknown kind, too few molecules, a split that comes out empty, or a bad split column.
    """
    if kind == "column":
        split = column_split(table.split, table.lines.tolist())
    elif kind == "random":
        split = random_split(len(table), seed, fractions)
    elif kind == "scaffold":
        split = scaffold_split(scaffolds(table.smiles, workers=workers), fractions)
    elif kind == "balanced-scaffold":
        split = balanced_scaffold_split(scaffolds(table.smiles, workers=workers), seed, fractions)
    else:
        raise unknown_name("split", kind, SPLIT_KINDS)
    other = "name train, valid and test in the column" if kind == "column" else "another --split, say random"
    for name, part in split.parts().items():
        if part.size == 0:
            raise UserError(
                f"The {kind} split of {len(table)} molecules leaves the {name} split empty.",
                "Use more molecules." if kind == "random" else f"Use more molecules, or {other}.",
            )
    return split


def scaffold_split(keys: Sequence[str], fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """The deterministic scaffold split of MoleculeNet (DeepChem's `ScaffoldSplitter`; Hu et al. 2020 fill alike).

    `keys` (N,) are the scaffolds. Sets of equal scaffold go, largest first and among equals the one that starts latest
    first (both implementations sort by (size, first index) backwards), into train while they fit, then valid, then
    test. Hu et al. keep chirality in the scaffold, MoleculeNet does not: choose by the `keys` that you pass.
    """
    groups = sorted(_groups(keys), key=lambda group: (len(group), group[0]), reverse=True)
    until_train, until_valid = fractions[0] * len(keys), (fractions[0] + fractions[1]) * len(keys)
    train: list[int] = []
    valid: list[int] = []
    test: list[int] = []
    for group in groups:
        if len(train) + len(group) <= until_train:
            train += group
        elif len(train) + len(valid) + len(group) <= until_valid:
            valid += group
        else:
            test += group
    return _split("scaffold", train, valid, test)


def balanced_scaffold_split(keys: Sequence[str], seed: int, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """A seeded scaffold split after chemprop's `scaffold_balanced`.

    Sets larger than half of the valid or test split come first, so that they land in train; both those and the others
    are shuffled. `keys` (N,) are the scaffolds.
    """
    total = len(keys)
    large_from = min(fractions[1], fractions[2]) * total / 2
    groups = _groups(keys)
    generator = np.random.default_rng(seed)
    large = [group for group in groups if len(group) > large_from]
    small = [group for group in groups if len(group) <= large_from]
    ordered = [pile[place] for pile in (large, small) for place in generator.permutation(len(pile))]
    train: list[int] = []
    valid: list[int] = []
    test: list[int] = []
    for group in ordered:
        if len(train) + len(group) <= fractions[0] * total:
            train += group
        elif len(valid) + len(group) <= fractions[1] * total:
            valid += group
        else:
            test += group
    return _split("balanced-scaffold", train, valid, test)


def random_split(total: int, seed: int, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """A seeded shuffle of `total` rows cut by `fractions`, rounded down for train and for train with valid."""
    order = np.random.default_rng(seed).permutation(total)
    # the tiny addend: 0.8 + 0.1 is a hair under 0.9 in floating point
    first, second = int(fractions[0] * total + 1e-9), int((fractions[0] + fractions[1]) * total + 1e-9)
    return _split("random", order[:first], order[first:second], order[second:])


def column_split(words: Sequence[str] | None, lines: Sequence[int] | None = None) -> Split:
    """The user's own split, a word a row: train, valid (val, validation, dev) or test; an empty cell leaves it out.

    `lines` are the file's, for errors.

    Raises:
        UserError: any other word.
    """
    if words is None:
        raise UserError("The split 'column' needs a column.", "Give the column's name as --split.")
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for row, word in enumerate(words):
        place = SPLIT_WORDS.get(word.strip().casefold())
        if place is not None:
            parts[place].append(row)
        elif word.strip():
            where = f"Row {row + 1}" if lines is None else f"Line {lines[row]}"
            close = nearest(word, SPLIT_WORDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{where}: {word!r} is not a split.{hint}", "Write train, valid, test or nothing.")
    return _split("column", *parts)


def check_split(table: MoleculeTable, split: Split) -> dict[str, list[str]]:
    """Can every part be scored? Returns for each part the labels that it can be scored on.

    A label counts where the part has both classes (classification), or any value (regression; two in train).

    Raises:
        UserError: no label counts in a part, or none that train can teach; which, and what to do, is told.
    """
    usable: dict[str, list[str]] = {}
    for name, part in split.parts().items():
        labels = table.labels[part]
        # Train must vary to be learned from; classes must both be there for a ROC-AUC.
        least = 2 if name == "train" or table.kind == "classification" else 1
        usable[name] = [
            label
            for column, label in enumerate(table.label_names)
            if np.unique(labels[~np.isnan(labels[:, column]), column]).size >= least
        ]
        if not usable[name]:
            lack = "both classes" if table.kind == "classification" else "two values" if least == 2 else "a value"
            raise UserError(
                f"The {name} split ({part.size} molecules) has {lack} in none of its {len(table.label_names)} labels.",
                _remedy(split.kind),
            )
    for name in ("valid", "test"):
        if not set(usable["train"]) & set(usable[name]):
            lack = "both classes" if table.kind == "classification" else "two values"
            raise UserError(
                f"No label that the {name} split can be scored on has {lack} in train: its score would be luck.",
                _remedy(split.kind),
            )
    return usable


def _remedy(kind: str) -> str:
    if kind == "column":
        return "Assign the rows of the split column otherwise."
    if kind == "scaffold":
        return "Use another split, for example --split balanced-scaffold or --split random."
    return "Use more molecules, or another --split."


def _groups(keys: Sequence[str]) -> list[list[int]]:
    """Rows with equal keys together, in order of their first row."""
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _split(kind: str, train: ArrayLike, valid: ArrayLike, test: ArrayLike) -> Split:
    return Split(kind, *(np.asarray(part, dtype=np.int64) for part in (train, valid, test)))
