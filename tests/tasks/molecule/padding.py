"""Batches that the host puts together and fills up: the reference for those that the device puts together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo_bench.tasks.molecule.layer_rows import Incidence
from hpo_bench.tasks.molecule.objectives.base import MASKED, Hidden, MoleculeBatch
from hpo_bench.tasks.molecule.packed import Graphs, PackedMolecules
from hpo_bench.tasks.molecule.padded import SPARE_MOLECULES, Sizes
from hpo_bench.tasks.objective import CLEAN
from hpo_bench.tasks.sending import sent


def sizes_of(batch: MoleculeBatch) -> Sizes:
    """Of a batch on the processor."""
    clean = batch.views[CLEAN]
    return Sizes(clean.num_atoms, len(clean.source), len(batch.masked_atoms), len(batch.masked_edges))


class _Sheet:
    """Arrays that go over together."""

    def __init__(self) -> None:
        self.parts: dict[str, Tensor] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        """Integers, kept as int32, or floats, kept as float32."""
        self.parts[name] = torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int32))


def padded(batch: MoleculeBatch, sizes: Sizes, packed: PackedMolecules) -> MoleculeBatch:
    """A batch of the processor on the device of `packed`, filled up to `sizes`; sums over it can be taken in order."""
    clean, hidden = batch.views[CLEAN], batch.views.get(MASKED)
    have = sizes_of(batch)
    n, e = have.atoms, have.edges
    if not sizes.hold(have):
        raise ValueError(f"a batch of sizes {tuple(have)} has no room in {tuple(sizes)}")
    assert clean.reverse is not None
    assert clean.molecule_ends is not None
    sheet = _Sheet()
    spare_atoms, spare_edges = sizes.atoms - n, sizes.edges - e
    # The spare edges go from spare atoms to themselves, shared out evenly: no sum gets long.
    loops = n + np.arange(spare_edges) * spare_atoms // max(spare_edges, 1)
    source, destination = (np.concatenate([ends.numpy(), loops]) for ends in (clean.source, clean.destination))
    degrees = np.bincount(destination, minlength=sizes.atoms)
    sheet.add("index", batch.index.numpy())
    # Spare atoms are shared out to spare molecules, for the same reason.
    spare_ends = n + np.arange(SPARE_MOLECULES + 1) * spare_atoms // SPARE_MOLECULES
    spare_molecules = len(clean) + np.repeat(np.arange(SPARE_MOLECULES), np.diff(spare_ends))
    sheet.add("molecule", np.concatenate([clean.molecule.numpy(), spare_molecules]))
    sheet.add("molecule_ends", np.concatenate([clean.molecule_ends.numpy()[:-2], spare_ends]))
    sheet.add("source", source)
    sheet.add("destination", destination)
    sheet.add("reverse", np.concatenate([clean.reverse.numpy(), np.arange(e, sizes.edges)]))
    sheet.add("ends", np.concatenate([[0], degrees.cumsum()]))
    sheet.add("sizes", clean.sizes.squeeze(1).numpy())
    sheet.add("real", _first(n, sizes.atoms).astype(np.float32))
    sheet.add("total", np.array([n], np.float32))
    for name, view in batch.views.items():
        sheet.add(f"{name} atoms", _filled(view.atom_code.numpy(), sizes.atoms, view.atom_table.shape[0] - 1))
        sheet.add(f"{name} bonds", _filled(view.bond_code.numpy(), sizes.edges, view.bond_table.shape[0] - 1))
    if hidden is not None:
        _add_hidden(sheet, batch, sizes)
    there = sent(sheet.parts, packed.device)
    shared: dict[str, Any] = {
        **{name: there[name] for name in ("source", "destination", "molecule", "reverse", "ends", "molecule_ends")},
        "sizes": there["sizes"][:, None],
        "atom_table": packed.atom_table,
        "bond_table": packed.bond_table,
        "real": there["real"],
        "total": there["total"].squeeze(0),
    }
    views = {
        name: Graphs(atom_code=there[f"{name} atoms"], bond_code=there[f"{name} bonds"], **shared)
        for name in batch.views
    }
    nothing = there["index"][:0]
    if hidden is None:
        return MoleculeBatch(there["index"], views, nothing, nothing)
    rows = Incidence(there["hidden atoms"], None, there["hidden numbers"], there["atom ends"])
    pairs = Incidence(there["bond atoms"], there["pairs"], there["of atom"], there["bond ends"])
    atoms, bonds = Hidden(rows, there["atom real"]), Hidden(pairs, there["bond real"])
    return MoleculeBatch(there["index"], views, there["hidden atoms"], there["hidden bonds"], None, atoms, bonds)


def _add_hidden(sheet: _Sheet, batch: MoleculeBatch, sizes: Sizes) -> None:
    """Which atoms and bonds are hidden, and for each atom which of both it is or belongs to."""
    clean, atoms, bonds = batch.views[CLEAN], batch.masked_atoms.numpy(), batch.masked_edges.numpy()
    spare = clean.num_atoms  # the first atom of the padding
    sheet.add("hidden atoms", _filled(atoms, sizes.hidden_atoms, spare))
    sheet.add("atom real", _first(len(atoms), sizes.hidden_atoms))
    sheet.add("hidden numbers", np.arange(sizes.hidden_atoms))
    is_hidden = np.zeros(sizes.atoms, np.int64)
    is_hidden[atoms] = 1
    sheet.add("atom ends", np.concatenate([[0], is_hidden.cumsum()]))
    sheet.add("hidden bonds", _filled(bonds, sizes.hidden_bonds, 0))
    sheet.add("bond real", _first(len(bonds), sizes.hidden_bonds))
    sheet.add("pairs", np.arange(0, 2 * sizes.hidden_bonds + 1, 2))
    ends = np.stack([clean.source.numpy()[bonds], clean.destination.numpy()[bonds]], axis=1).reshape(-1)
    sheet.add("bond atoms", _filled(ends, 2 * sizes.hidden_bonds, spare))
    sheet.add("of atom", _filled(ends.argsort(kind="stable") // 2, 2 * sizes.hidden_bonds, sizes.hidden_bonds - 1))
    sheet.add("bond ends", np.concatenate([[0], np.bincount(ends, minlength=sizes.atoms).cumsum()]))


def _first(count: int, size: int) -> np.ndarray:
    """True `count` times, then False (size,)."""
    return np.arange(size) < count


def _filled(values: np.ndarray, size: int, filler: int) -> np.ndarray:
    filled = np.full(size, filler, np.int32)
    filled[: len(values)] = values
    return filled
