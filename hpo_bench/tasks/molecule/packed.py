"""A whole set of molecules as flat tensors on one device; a batch is a few index operations there.

An atom is one number, its row in a table of the distinct atoms of the set (a few dozen to a few hundred rows), and so
is a bond. The encoder embeds the rows of the table once a step instead of embedding every atom.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES, Feature, MoleculeArrays
from hpo_bench.tasks.molecule.layer_rows import EncoderRows


@dataclass(frozen=True)
class Graphs:
    """B molecules as one graph of N atoms and E directed edges, edges sorted by destination.

    atom_code (N,), bond_code (E,): rows of atom_table (U, sum of atom categories) and bond_table (V, sum of bond
    categories), float32 tables of ones and zeros whose last row is MASK in every feature. source, destination (E,):
    atoms of the batch. molecule (N,): 0 to B-1. sizes (B, 1): atoms of each molecule, float32. encoder_rows: how an
    encoder computes atoms with equal surroundings once, see `refinement`.

    On an accelerator also: reverse (E,), the edge that goes the other way; ends (N + 1,), where the edges of each
    destination end; molecule_ends (B + 2,), where the atoms of each molecule end, and an empty one. With padding
    (`padded`): real (N,), 1 for an atom and 0 for padding, which is of molecules B and more; total (), the atoms.
    """

    atom_code: Tensor
    bond_code: Tensor
    source: Tensor
    destination: Tensor
    molecule: Tensor
    sizes: Tensor
    atom_table: Tensor
    bond_table: Tensor
    encoder_rows: EncoderRows | None = None
    reverse: Tensor | None = None
    ends: Tensor | None = None
    molecule_ends: Tensor | None = None
    real: Tensor | None = None
    total: Tensor | None = None
    parts: tuple[Graphs, ...] = ()

    @property
    def views(self) -> tuple[Graphs, ...]:
        """The parts, if these are several views, in the order of their atoms."""
        return self.parts or (self,)

    @property
    def num_atoms(self) -> int:
        """N."""
        return int(self.atom_code.shape[0])

    def __len__(self) -> int:
        return int(self.sizes.shape[0])

    def masked(self, atoms: Tensor, edges: Tensor) -> Graphs:
        """The same graphs with the atoms (N,) bool and the edges (E,) bool hidden behind the MASK row."""
        return replace(
            self,
            atom_code=self.atom_code.masked_fill(atoms, self.atom_table.shape[0] - 1),
            bond_code=self.bond_code.masked_fill(edges, self.bond_table.shape[0] - 1),
            encoder_rows=None,
        )


def joined(views: Sequence[Graphs]) -> Graphs:
    """Several views as one graph, each with an atom table of its own: atoms of two views are never equal."""
    if len(views) == 1:
        return views[0]
    tables, atoms, molecules, edges = ([0] for _ in range(4))
    for view in views:
        tables.append(tables[-1] + view.atom_table.shape[0])
        atoms.append(atoms[-1] + view.num_atoms)
        molecules.append(molecules[-1] + len(view))
        edges.append(edges[-1] + view.bond_code.shape[0])
    reverse = [view.reverse + shift for view, shift in zip(views, edges, strict=False) if view.reverse is not None]
    ends = [view.ends[:-1] + shift for view, shift in zip(views, edges, strict=False) if view.ends is not None]
    real = [view.real for view in views if view.real is not None]
    if ends:
        ends.append(ends[0].new_full((1,), edges[-1]))
    return Graphs(
        atom_code=torch.cat([view.atom_code + shift for view, shift in zip(views, tables, strict=False)]),
        bond_code=torch.cat([view.bond_code for view in views]),
        source=torch.cat([view.source + shift for view, shift in zip(views, atoms, strict=False)]),
        destination=torch.cat([view.destination + shift for view, shift in zip(views, atoms, strict=False)]),
        molecule=torch.cat([view.molecule + shift for view, shift in zip(views, molecules, strict=False)]),
        sizes=torch.cat([view.sizes for view in views]),
        atom_table=torch.cat([view.atom_table for view in views]),
        bond_table=views[0].bond_table,
        reverse=torch.cat(reverse) if reverse else None,
        ends=torch.cat(ends) if ends else None,
        real=torch.cat(real) if real else None,
        parts=tuple(views),
    )


class PackedMolecules:
    """M molecules on `device`; `batch(index)` gives the graphs of some of them.

    Attributes of use to objectives: atom_values (U, 6) and bond_values (V, 2) int64, the categories behind each code;
    atom_totals (U,) and bond_totals (V,) float64, how often each code occurs in the set (bonds counted once). host: the
    same set on the processor, for drawing batches whose sizes the host must know; itself on a processor.
    """

    def __init__(self, molecules: MoleculeArrays, device: torch.device | str = "cpu") -> None:
        self.device = torch.device("cpu")
        atom_values, atom_code = _codes(molecules.atoms, ATOM_FEATURES)
        bond_values, bond_code = _codes(molecules.bonds, BOND_FEATURES)
        self.atom_values, self.bond_values = self._put(atom_values, torch.int64), self._put(bond_values, torch.int64)
        self.atom_totals = self._put(np.bincount(atom_code, minlength=len(atom_values)), torch.float64)
        self.bond_totals = self._put(np.bincount(bond_code, minlength=len(bond_values)), torch.float64)
        self.atom_table = self._put(_multi_hot(atom_values, ATOM_FEATURES), torch.float32)
        self.bond_table = self._put(_multi_hot(bond_values, BOND_FEATURES), torch.float32)

        edge_molecule = np.repeat(np.repeat(np.arange(len(molecules)), molecules.bond_counts), 2)
        bond_of_edge = np.repeat(np.arange(len(molecules.bonds)), 2)
        source = molecules.ends.reshape(-1)  # bond (a, b) becomes the edges a -> b and b -> a
        destination = molecules.ends[:, ::-1].reshape(-1)
        keys = (edge_molecule << 15 | destination) << 15 | source  # numbers of atoms are int16
        order = keys.argsort(kind="stable")  # many times faster than lexsort where much is in order already
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self._atom_code = self._put(atom_code, torch.int32)
        self._bond_code = self._put(bond_code[bond_of_edge[order]], torch.int32)
        self._source = self._put(source[order], torch.int32)
        self._destination = self._put(destination[order], torch.int32)
        first_atom = molecules.atom_counts.cumsum() - molecules.atom_counts
        degree = np.bincount(first_atom[edge_molecule] + destination, minlength=len(atom_code))
        self._degree = self._put(degree, torch.int64)
        self._atom_count = self._put(molecules.atom_counts, torch.int64)
        self._edge_count = self._put(2 * molecules.bond_counts, torch.int64)
        self._atom_start = self._atom_count.cumsum(0) - self._atom_count
        self._edge_start = self._edge_count.cumsum(0) - self._edge_count
        # A bond's two edges stand side by side before sorting; numbered from the first edge of their molecule.
        reverse = place[order ^ 1] - self._edge_start.numpy()[edge_molecule[order]]
        self._reverse = self._put(reverse, torch.int32)
        self.host, self.in_order = self, False
        if torch.device(device).type != "cpu":
            self._move(torch.device(device))

    def _move(self, device: torch.device) -> None:
        self.host = copy.copy(self)
        self.host.host, self.host.in_order = self.host, True
        self.device, self.in_order = device, True  # an accelerator's own additions take any order
        for name, value in vars(self.host).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def _put(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, dtype)

    def __len__(self) -> int:
        return int(self._atom_count.shape[0])

    def atoms_of(self, index: Tensor) -> Tensor:
        """Atoms (B,) int64 of each of the molecules `index` (B,)."""
        return self._atom_count.index_select(0, index)

    def batch(self, index: Tensor) -> Graphs:
        """The graphs of the molecules `index` (B,) int64, in that order."""
        atoms, edges = self._atom_count.index_select(0, index), self._edge_count.index_select(0, index)
        first_atom = atoms.cumsum(0) - atoms
        atom_rows, molecule = _segments(self._atom_start.index_select(0, index) - first_atom, atoms)
        edge_shift = self._edge_start.index_select(0, index) - (edges.cumsum(0) - edges)
        edge_rows, edge_molecule = _segments(edge_shift, edges)
        shift = first_atom.index_select(0, edge_molecule)
        graphs = Graphs(
            atom_code=self._atom_code.index_select(0, atom_rows).long(),
            bond_code=self._bond_code.index_select(0, edge_rows).long(),
            source=self._source.index_select(0, edge_rows) + shift,
            destination=self._destination.index_select(0, edge_rows) + shift,
            molecule=molecule,
            sizes=atoms.to(torch.float32)[:, None],
            atom_table=self.atom_table,
            bond_table=self.bond_table,
        )
        if not self.in_order:
            return graphs
        first_edge = (edges.cumsum(0) - edges).index_select(0, edge_molecule)
        molecule_ends = F.pad(atoms.cumsum(0), (1, 0))
        return replace(
            graphs,
            reverse=self._reverse.index_select(0, edge_rows) + first_edge,
            ends=F.pad(self._degree.index_select(0, atom_rows).cumsum(0), (1, 0)),
            molecule_ends=torch.cat([molecule_ends, molecule_ends[-1:]]),
        )


def _segments(shift: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers and segment numbers of consecutive segments of `counts` rows, segment b displaced by shift[b]."""
    segment = torch.repeat_interleave(counts)
    return torch.arange(segment.shape[0], device=counts.device) + shift.index_select(0, segment), segment


def _codes(table: np.ndarray, features: tuple[Feature, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of a table of categories, with the MASK row appended, and the code of every row."""
    sizes = tuple(feature.size for feature in features)
    flat = np.ravel_multi_index(tuple(table.astype(np.int64).T), sizes)
    there = np.bincount(flat, minlength=math.prod(sizes)) > 0  # a million categories: far quicker than sorting
    masked = np.array([[feature.mask for feature in features]])
    values = np.stack(np.unravel_index(np.flatnonzero(there), sizes), axis=1)
    return np.concatenate([values, masked]), (there.cumsum() - 1)[flat]


def _multi_hot(values: np.ndarray, features: tuple[Feature, ...]) -> np.ndarray:
    """Categories (U, F) as rows of ones and zeros (U, sum of sizes)."""
    return np.concatenate([np.eye(feature.size)[values[:, i]] for i, feature in enumerate(features)], axis=1)
