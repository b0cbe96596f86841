"""From SMILES to arrays of small integers: the categories of atoms and bonds.

The features are those of Hu et al. 2020 ("Strategies for Pre-training Graph Neural Networks") with degree, charge and
hydrogens added. Every feature is categorical; each keeps a last category MASK, which no molecule has and which the
masked view writes over an atom or a bond.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, IN_RING, Surroundings, is_usual_text, read_surroundings

if TYPE_CHECKING:
    from rdkit.Chem import Mol

FEATURISER_VERSION = 1  # part of the cache key: raise it when a category or a target changes


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
    ends (E, 2) int16: the two atoms of a bond, counted from the first atom of its molecule; atom_counts and bond_counts
    (M,) int32; motif (M, 85), maccs (M, 167) uint8 and descriptor (M, D) float32: see `targets`; a kind that was not
    asked for has width 0.
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


def atom_rows(molecule: Mol, surroundings: Surroundings | None = None) -> list[tuple[int, ...]]:
    """Categories of every atom, in the order of `ATOM_FEATURES`; with `surroundings` the chirality is 'unspecified'."""
    if surroundings is not None:
        for kind in ATOM_CODES[len(_ROWS) :]:
            _ROWS.append(_atom_row(*kind[:5]))
        return [_ROWS[code] for code in surroundings.codes]
    rows: list[tuple[int, ...]] = []
    for number in range(molecule.GetNumAtoms()):  # several times faster than iterating over GetAtoms()
        atom = molecule.GetAtomWithIdx(number)
        code = atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetTotalNumHs(), atom.GetIsAromatic(), atom.GetDegree()
        rows.append(_atom_row(*code, min(int(atom.GetChiralTag()), 3)))
    return rows


_ROWS: list[tuple[int, ...]] = []  # of each of `ATOM_CODES`, as far as it was needed


@cache
def _atom_row(element: int, charge: int, hydrogens: int, aromatic: bool, degree: int, chirality: int = 0) -> Any:
    return (
        element,
        chirality,
        degree if degree < 7 else 7,
        charge + 3 if 0 <= charge + 3 < 7 else 7,
        hydrogens if hydrogens < 5 else 5,
        1 if aromatic else 0,
    )


def bond_rows(molecule: Mol, surroundings: Surroundings | None = None) -> list[tuple[int, int, int, int]]:
    """Of every bond: its two atoms, its type and its stereo category; with `surroundings` the latter is 'none'."""
    if surroundings is not None:
        return [(begin, end, kind % IN_RING, 0) for begin, end, kind in surroundings.bonds]
    rows = []
    for number in range(molecule.GetNumBonds()):
        bond = molecule.GetBondWithIdx(number)
        kind, stereo = _BOND_TYPES.get(bond.GetBondType(), 4), bond.GetStereo()
        rows.append((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), kind, int(stereo) if stereo < 4 else 4))
    return rows


def parse(smiles: str, row: int | None = None) -> Mol:
    """The molecule of a SMILES; a ValueError that names the string (and its row) if RDKit rejects it or it is empty."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        where = "" if row is None else f" (row {row})"
        raise ValueError(f"not a molecule: SMILES {smiles!r}{where}; leave such rows out before featurising")
    return molecule


def featurise_chunk(smiles: list[str], first_row: int = 0, kinds: tuple[str, ...] = ()) -> MoleculeArrays:
    """Featurise molecules in this process; `kinds` names the targets to compute beside (see `targets.TARGET_KINDS`)."""
    from rdkit import rdBase

    from hpo_bench.tasks.molecule.targets import TARGET_KINDS, target_width

    quiet = rdBase.BlockLogs()
    atoms: list[tuple[int, ...]] = []
    bonds: list[tuple[int, int, int, int]] = []
    atom_counts, bond_counts = [], []
    found: dict[str, Any] = {kind: [] for kind in TARGET_KINDS}
    for row, text in enumerate(smiles, start=first_row):
        molecule = parse(text, row)
        surroundings = read_surroundings(molecule, text)
        plain = surroundings if is_usual_text(text) else None
        of_atoms, of_bonds = atom_rows(molecule, plain), bond_rows(molecule, plain)
        atoms += of_atoms
        bonds += of_bonds
        atom_counts.append(len(of_atoms))
        bond_counts.append(len(of_bonds))
        for kind in kinds:
            found[kind].append(TARGET_KINDS[kind](molecule, surroundings))
    del quiet
    bond_table = np.array(list(chain.from_iterable(bonds)), dtype=np.int16).reshape(len(bonds), 4)
    widths = {kind: target_width(kind) if kind in kinds else 0 for kind in TARGET_KINDS}
    types = {kind: np.float32 if kind == "descriptor" else np.uint8 for kind in TARGET_KINDS}
    return MoleculeArrays(
        atoms=np.array(list(chain.from_iterable(atoms)), np.uint8).reshape(len(atoms), len(ATOM_FEATURES)),
        bonds=bond_table[:, 2:].astype(np.uint8),
        ends=bond_table[:, :2].copy(),
        atom_counts=np.array(atom_counts, dtype=np.int32),
        bond_counts=np.array(bond_counts, dtype=np.int32),
        **{kind: np.array(found[kind], types[kind]).reshape(len(smiles), widths[kind]) for kind in TARGET_KINDS},
    )
