"""Batches for an accelerator: the host draws the random numbers, the device puts the batch together.

The host draws which molecules and one number for each atom, as it does for a processor, so a seed means the same
molecules and masks on every device. Which atoms, edges and bonds these are is found on the device, as a part of the
step: in arrays of agreed sizes (`padded`), so no size is read back, and one captured step serves all batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.tasks.molecule.layer_rows import Incidence
from hpo_bench.tasks.molecule.objectives.base import MASKED, Hidden, MoleculeBatch
from hpo_bench.tasks.molecule.packed import Graphs, PackedMolecules
from hpo_bench.tasks.molecule.padded import SPARE_MOLECULES, Sizes
from hpo_bench.tasks.objective import CLEAN


@dataclass(frozen=True)
class Lots:
    """What is drawn of a batch: index (B,) int32, rows of the corpus; lots (sizes.atoms,) float32, one for each atom.

    lots: None where nothing is hidden.
    """

    index: Tensor
    lots: Tensor | None
    sizes: Sizes

    def __len__(self) -> int:
        return int(self.index.shape[0])


class Needs:
    """The room that molecules of a set need, for hidden bonds at most: known without drawing what is hidden."""

    def __init__(self, packed: PackedMolecules, rate: float) -> None:
        host = packed.host
        atoms, edges = host._atom_count, host._edge_count
        quota = quotas(atoms, rate)
        # At most the bonds of the atoms that have most.
        molecule = torch.repeat_interleave(atoms)
        order = torch.from_numpy(np.lexsort((-host._degree.numpy(), molecule.numpy())))
        rank = torch.arange(len(order)) - host._atom_start.index_select(0, molecule)
        most = host._degree.index_select(0, order) * (rank < quota.index_select(0, molecule))
        bonds = torch.zeros_like(atoms).index_add(0, molecule, most)
        self.each = torch.stack([atoms, edges, quota, torch.minimum(bonds, edges // 2)], 1)

    def of(self, index: Tensor) -> Sizes:
        """Of the molecules `index` (B,) together."""
        return Sizes(*self.each.index_select(0, index).sum(0).tolist())


def quotas(atoms: Tensor, rate: float) -> Tensor:
    """How many atoms are hidden of molecules of so many atoms: 1 + floor(rate x atoms), but never more than all."""
    sizes = atoms.to(torch.float32)
    return torch.minimum(1 + (rate * sizes).floor(), sizes).long()


def assembled(given: Lots, packed: PackedMolecules, rate: float) -> MoleculeBatch:
    """The batch on the device of `packed`, filled up to `given.sizes`; sums over it can be taken in order."""
    index, sizes = given.index, given.sizes
    place = torch.arange(max(sizes.atoms, sizes.edges), device=index.device)
    atom_place, edge_place = place[: sizes.atoms], place[: sizes.edges]
    counts, edge_counts = (table.index_select(0, index) for table in (packed._atom_count, packed._edge_count))
    ends, edge_ends = counts.cumsum(0), edge_counts.cumsum(0)
    first, first_edge = ends - counts, edge_ends - edge_counts
    n, e = ends[-1], edge_ends[-1]
    real, real_edge = atom_place < n, edge_place < e
    spare_atoms, spare_edges = sizes.atoms - n, sizes.edges - e

    molecule = torch.searchsorted(ends, atom_place, right=True).clamp(max=len(given) - 1)
    shift = packed._atom_start.index_select(0, index) - first
    rows = torch.where(real, atom_place + shift.index_select(0, molecule), 0)
    of_edge = torch.searchsorted(edge_ends, edge_place, right=True).clamp(max=len(given) - 1)
    edge_shift = packed._edge_start.index_select(0, index) - first_edge
    edge_rows = torch.where(real_edge, edge_place + edge_shift.index_select(0, of_edge), 0)
    # The spare edges go from spare atoms to themselves, shared out evenly: no sum gets long.
    loops = n + (edge_place - e) * spare_atoms // spare_edges.clamp(min=1)
    before = first.index_select(0, of_edge)
    source, destination = (
        torch.where(real_edge, _rows(table, edge_rows) + before, loops)
        for table in (packed._source, packed._destination)
    )
    reverse = _rows(packed._reverse, edge_rows) + first_edge.index_select(0, of_edge)
    # Spare atoms are shared out to spare molecules, for the same reason.
    spare_ends = n + place[: SPARE_MOLECULES + 1] * spare_atoms // SPARE_MOLECULES
    spare = len(given) + torch.searchsorted(spare_ends[1:], atom_place, right=True)
    shared: dict[str, Any] = {
        "source": source.int(),
        "destination": destination.int(),
        "molecule": torch.where(real, molecule, spare).int(),
        "reverse": torch.where(real_edge, reverse, edge_place).int(),
        "ends": _ends(destination, atom_place),
        "molecule_ends": torch.cat([F.pad(ends[:-1], (1, 0)), spare_ends]).int(),
        "sizes": counts.float()[:, None],
        "atom_table": packed.atom_table,
        "bond_table": packed.bond_table,
        "real": real.float(),
        "total": n.float(),
    }
    atom_code = torch.where(real, packed._atom_code.index_select(0, rows), packed.atom_table.shape[0] - 1).int()
    bond_code = torch.where(real_edge, _rows(packed._bond_code, edge_rows), packed.bond_table.shape[0] - 1)
    clean = Graphs(atom_code=atom_code, bond_code=bond_code.int(), **shared)
    if given.lots is None:
        nothing = index[:0]
        return MoleculeBatch(index, {CLEAN: clean}, nothing, nothing)
    quota = torch.where(real, quotas(counts, rate).index_select(0, molecule), 0)
    key = torch.where(real, molecule, len(given)).double() + given.lots  # in float64 the sum is exact
    order = key.argsort(stable=True)  # molecules stay in order, atoms within a molecule are shuffled
    rank = order.argsort() - first.index_select(0, molecule)
    return _hidden(clean, rank < quota, real_edge, given)


def _hidden(clean: Graphs, hidden: Tensor, real_edge: Tensor, given: Lots) -> MoleculeBatch:
    """The batch whose atoms `hidden` (N,) bool are hidden, with their bonds."""
    sizes, source, destination = given.sizes, clean.source, clean.destination
    edges = hidden.index_select(0, source) | hidden.index_select(0, destination)
    views = {CLEAN: clean, MASKED: clean.masked(hidden, edges)}
    assert clean.total is not None
    spare = clean.total.int()  # the first atom of the padding
    atoms, atom_ends, atom_real = _numbers(hidden, sizes.hidden_atoms)
    atoms = torch.where(atom_real, atoms, spare).int()
    bonds, bond_ends, bond_real = _numbers(edges & (source < destination) & real_edge, sizes.hidden_bonds)
    bonds = torch.where(bond_real, bonds, 0).int()
    pair = torch.arange(2 * sizes.hidden_bonds + 1, device=atoms.device, dtype=torch.int32)
    both = torch.stack([source.index_select(0, bonds), destination.index_select(0, bonds)], 1)
    both = torch.where(bond_real[:, None], both, spare).reshape(-1)
    in_order, by_atom = both.sort(stable=True)
    count = 2 * bond_ends[-1]
    of_atom = torch.where(pair[:-1] < count, by_atom // 2, sizes.hidden_bonds - 1).int()
    number, place = (torch.arange(size, device=atoms.device).int() for size in (sizes.hidden_atoms, sizes.atoms))
    rows = Incidence(atoms, None, number, atom_ends)
    pairs = Incidence(both, pair[::2].contiguous(), of_atom, _ends(in_order, place).clamp(max=count))
    return MoleculeBatch(
        given.index, views, atoms, bonds, None, Hidden(rows, atom_real.int()), Hidden(pairs, bond_real.int())
    )


def _numbers(chosen: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places of True in `chosen` (N,), filled up to `size`; how many lie before each place (N + 1,); which are real."""
    counted = F.pad(chosen.cumsum(0), (1, 0))
    number = torch.arange(size, device=chosen.device)
    return torch.searchsorted(counted[1:], number, right=True), counted.int(), number < counted[-1]


def _ends(ascending: Tensor, values: Tensor) -> Tensor:
    """How many of `ascending` are below 0, below 1, and so on for all `values` 0, 1, ...: (len(values) + 1,) int32."""
    return F.pad(torch.searchsorted(ascending, values.to(ascending.dtype), right=True, out_int32=True), (1, 0))


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of a table (N,) of edges; of a set without any bond all are padding, and 0."""
    return (table if len(table) else table.new_zeros(1)).index_select(0, rows)
