"""Batches of one size for an accelerator, drawn on the processor and sent over in one piece.

The host draws a batch as it does for a processor, so a seed means the same molecules and masks on every device, and no
size has to be read back. What is short of the agreed sizes is filled up with atoms and bonds of no molecule: batch norm
leaves them out of its statistics, no loss reads them. So every step has the same shapes, and one captured step serves
all batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from hpo_bench.tasks.molecule.objectives.base import MoleculeBatch
from hpo_bench.tasks.objective import CLEAN

_STEP = 64  # sizes are multiples: matrix units work on tiles
_DEVIATIONS = 4.5  # of a batch's size from the mean: one batch in 100,000 is larger, were sizes normal
SPARE_MOLECULES = 64


class Sizes(NamedTuple):
    """Atoms and directed edges of one view, atoms and bonds that it hides."""

    atoms: int
    edges: int
    hidden_atoms: int
    hidden_bonds: int

    def hold(self, other: Sizes) -> bool:
        """Is there room for `other`, with at least one of each to spare, which stands for padding?"""
        return all(mine > yours for mine, yours in zip(self, other, strict=True))

    def rounded(self) -> Sizes:
        """The next multiples above: at least one to spare of each."""
        return Sizes(*((size // _STEP + 1) * _STEP for size in self))


def common_sizes(found: Iterable[Sizes]) -> Sizes:
    """Sizes with room for each of those `found` and for nearly every other; a larger batch gets sizes of its own."""
    every = np.array(list(found))
    usual = every.mean(0) + _DEVIATIONS * every.std(0)
    return Sizes(*np.maximum(every.max(0), usual).astype(int).tolist()).rounded()


def trimmed(batch: MoleculeBatch) -> MoleculeBatch:
    """A padded batch without its padding. It reads sizes from the device, and waits for it."""
    clean = batch.views[CLEAN]
    if clean.total is None or clean.ends is None or clean.molecule_ends is None or clean.reverse is None:
        return batch
    n = int(clean.total)
    e, count = int(clean.ends[n]), len(clean)
    empty = clean.molecule_ends[count : count + 1]
    views = {
        name: replace(
            view,
            atom_code=view.atom_code[:n],
            bond_code=view.bond_code[:e],
            source=view.source[:e],
            destination=view.destination[:e],
            molecule=view.molecule[:n],
            reverse=clean.reverse[:e],
            ends=clean.ends[: n + 1],
            molecule_ends=torch.cat([clean.molecule_ends[: count + 1], empty]),
            real=None,
            total=None,
        )
        for name, view in batch.views.items()
    }
    if batch.atoms is None or batch.bonds is None:
        return replace(batch, views=views)
    a, h = int(batch.atoms.real.sum()), int(batch.bonds.real.sum())
    atoms, edges = batch.masked_atoms[:a], batch.masked_edges[:h]
    return MoleculeBatch(batch.index, views, atoms, edges)
