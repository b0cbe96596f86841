"""From SMILES to arrays of small integers: the categories of atoms and bonds.

The features are those of Hu et al. 2020 ("Strategies for Pre-training Graph Neural Networks") with degree, charge and
hydrogens added. Every feature is categorical; each keeps a last category MASK, which no molecule has and which the
masked view writes over an atom or a bond.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.data.smiles import molecule_of, silent_rdkit
from hpo_bench.tasks.molecule.targets import TARGET_KINDS

if TYPE_CHECKING:
    from rdkit.Chem import Mol

FEATURISER_VERSION = 1  # of caches and base checkpoints: raise it when a category or a target changes


@dataclass(frozen=True)
class Feature:
    """A categorical feature; `size` counts all its categories, the last of them is MASK."""

    name: str
    size: int

    @property
    def mask(self) -> int:
        """The category that stands for 'hidden'."""
        return self.size - 1


ATOM_FEATURES = (
    Feature("element", 120),  # 0: other (a dummy atom), else the atomic number
    Feature("chirality", 5),  # unspecified, clockwise, counter-clockwise, other
    Feature("degree", 9),  # 0 to 6 heavy neighbours, other
    Feature("charge", 9),  # -3 to +3, other
    Feature("hydrogens", 7),  # 0 to 4, other
    Feature("aromatic", 3),  # no, yes
)
BOND_FEATURES = (
    Feature("type", 6),  # single, double, triple, aromatic, other
    Feature("stereo", 6),  # none, any, Z, E, other
)

_BOND_TYPES = {1: 0, 2: 1, 3: 2, 12: 3}  # keys: rdkit.Chem.BondType, which is an int


@dataclass(frozen=True)
class MoleculeArrays:
    """M featurised molecules, one after another.

    atoms (A, 6) uint8 and bonds (E, 2) uint8: categories in the order of `ATOM_FEATURES` and `BOND_FEATURES`;
    ends (E, 2) int16, ascending: the two atoms of a bond, the lower number first, counted from the first atom of the
    molecule; atom_counts and bond_counts (M,) int32; motif (M, 85), maccs (M, 167) uint8 and descriptor (M, D) float32:
    see `targets`; a kind that was not asked for has width 0.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    ends: np.ndarray
    atom_counts: np.ndarray
    bond_counts: np.ndarray
    motif: np.ndarray
    maccs: np.ndarray
    descriptor: np.ndarray

    def __len__(self) -> int:
        return int(self.atom_counts.shape[0])

    @classmethod
    def concatenate(cls, parts: list[MoleculeArrays]) -> MoleculeArrays:
        """Put the molecules of several parts one after another."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def as_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name, as they are written to the cache."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def take(self, index: np.ndarray) -> MoleculeArrays:
        """The molecules `index` (B,), in that order."""
        atom_rows = _ragged_rows(self.atom_counts, index)
        bond_rows = _ragged_rows(self.bond_counts, index)
        return MoleculeArrays(
            atoms=self.atoms[atom_rows],
            bonds=self.bonds[bond_rows],
            ends=self.ends[bond_rows],
            atom_counts=self.atom_counts[index],
            bond_counts=self.bond_counts[index],
            motif=self.motif[index],
            maccs=self.maccs[index],
            descriptor=self.descriptor[index],
        )


def _ragged_rows(counts: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Row numbers of the segments `index`, one after another, when segment i has counts[i] rows."""
    starts = np.cumsum(counts, dtype=np.int64) - counts
    taken = counts[index].astype(np.int64)
    shift = starts[index] - (np.cumsum(taken) - taken)
    return np.repeat(shift, taken) + np.arange(int(taken.sum()))


def parse(smiles: str, row: int | None = None) -> Mol:
    """The molecule of a SMILES; a ValueError that names the string (and its row) if RDKit rejects it or it is empty."""
    molecule = molecule_of(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        where = "" if row is None else f" (row {row})"
        raise ValueError(f"not a molecule: SMILES {smiles!r}{where}; leave such rows out before featurising")
    return molecule


def featurise_chunk(smiles: list[str], first_row: int = 0, kinds: tuple[str, ...] = ()) -> MoleculeArrays:
    """Featurise molecules in this process; `kinds` names the targets to compute beside (see `targets.TARGET_KINDS`)."""
    with silent_rdkit():
        molecules = [parse(text, row) for row, text in enumerate(smiles, start=first_row)]
        return _arrays(
            [_atom_row(atom) for molecule in molecules for atom in molecule.GetAtoms()],
            [row for molecule in molecules for row in sorted(map(_bond_row, molecule.GetBonds()))],
            [molecule.GetNumAtoms() for molecule in molecules],
            [molecule.GetNumBonds() for molecule in molecules],
            {kind: [TARGET_KINDS[kind].of(molecule) for molecule in molecules] for kind in kinds},
        )


def _arrays(atoms: Any, bonds: Any, atom_counts: Any, bond_counts: Any, targets: dict[str, Any]) -> MoleculeArrays:
    """Atoms (A, 6), bonds (E, 4) as (begin, end, categories), numbers (M,) and targets (M, ...) by kind."""
    table = np.asarray(bonds, dtype=np.int16).reshape(-1, 2 + len(BOND_FEATURES))
    found = {kind: np.zeros((len(atom_counts), 0), target.dtype) for kind, target in TARGET_KINDS.items()}
    for kind, values in targets.items():
        target = TARGET_KINDS[kind]
        found[kind] = np.asarray(values).astype(target.dtype).reshape(len(atom_counts), target.width())
    return MoleculeArrays(
        atoms=np.asarray(atoms, dtype=np.uint8).reshape(-1, len(ATOM_FEATURES)),
        bonds=table[:, 2:].astype(np.uint8),
        ends=table[:, :2].copy(),
        atom_counts=np.asarray(atom_counts, dtype=np.int32),
        bond_counts=np.asarray(bond_counts, dtype=np.int32),
        **found,
    )


def _atom_row(atom: Any) -> list[int]:
    """Categories in the order of `ATOM_FEATURES`."""
    charge = atom.GetFormalCharge()
    return [
        atom.GetAtomicNum(),
        min(int(atom.GetChiralTag()), 3),
        min(atom.GetDegree(), 7),
        charge + 3 if -3 <= charge <= 3 else 7,
        min(atom.GetTotalNumHs(), 5),
        int(atom.GetIsAromatic()),
    ]


def _bond_row(bond: Any) -> tuple[int, int, int, int]:
    ends = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
    return ends[0], ends[1], _BOND_TYPES.get(bond.GetBondType(), 4), min(int(bond.GetStereo()), 4)
