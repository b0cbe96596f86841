"""Molecules as RDKit parsed them, read once: what every atom is and what it is bonded to, as small interned numbers.

Two atoms with one number in `Surroundings.around` have the same neighbourhood of radius one, so whatever depends on
that alone (most functional groups, MACCS keys and Crippen types) is worked out once and looked up ever after. Many
molecules are read together: a call of Python for every atom and bond would take most of the time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.tasks.molecule.codes import elements, most_matches, read_codes

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Text of isotopes, dummy atoms and bonds that are not of the four usual types, or may not be.
_UNUSUAL_TEXT = re.compile(r"\[\d|[*<>~$|]")
_USUAL_ELEMENTS = frozenset({5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
_DUMMY_OR_HYDROGEN = frozenset({0, 1})  # hydrogens that are atoms look further than one bond
_USUAL_BONDS = frozenset({1, 2, 3, 12})  # rdkit.Chem.BondType: single, double, triple, aromatic
_KINDS = np.array([-1, -1, 0, 3, 1, -1, 2])  # twice a bond's order to the category of `BOND_FEATURES`
_MOST_ATOMS = 300  # tables of bonds grow with the square
_MOST_MATCHES = 1000  # of a pattern: RDKit looks for no more, and leaves other atoms of large molecules without a type
IN_RING = 8  # added to the kind of a bond in a ring
KINDS = 2 * IN_RING
AROMATIC = 3


AROUND: list[tuple[int, ...]] = []  # every kind of neighbourhood: a code and the sorted `leaf` numbers of neighbours


class _Neighbourhoods(dict[bytes, int]):
    """The number of each neighbourhood in `AROUND`, which grows where one is new."""

    def __missing__(self, row: bytes) -> int:
        numbers = np.frombuffer(row + bytes(-len(row) % 4), np.int32) - 1
        AROUND.append(tuple(numbers.tolist()))
        self[row] = len(AROUND) - 1
        return self[row]


_neighbourhoods = _Neighbourhoods()


@dataclass(frozen=True)
class Surroundings:
    """M molecules with A atoms, B bonds and R rings of the smallest sets, all numbered one after another, int64.

    start (M + 1,): first atom of each molecule. codes (A,): each atom's number in `ATOM_CODES`. begin, end (2 B,):
    each bond from both sides, sorted; bond (2 B,): its number, which follows the side where begin < end. kind (B,):
    category of its type, + IN_RING where it is in a ring. ring (R + 1,): where each ring starts in ring_atoms and
    ring_bonds, which go around it. around (A,): each atom's number in `AROUND`.
    """

    molecules: list[Mol]
    start: np.ndarray
    codes: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    bond: np.ndarray
    kind: np.ndarray
    ring: np.ndarray
    ring_atoms: np.ndarray
    ring_bonds: np.ndarray
    around: np.ndarray

    def __len__(self) -> int:
        return len(self.molecules)

    @cached_property
    def molecule(self) -> np.ndarray:
        """The molecule of each atom (A,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @cached_property
    def ends(self) -> np.ndarray:
        """Both atoms of each bond (2, B), the lower number first."""
        first = self.begin < self.end
        return np.stack([self.begin[first], self.end[first]])

    @cached_property
    def bond_molecule(self) -> np.ndarray:
        """The molecule of each bond (B,)."""
        return self.molecule[self.ends[0]]

    @cached_property
    def ring_molecule(self) -> np.ndarray:
        """The molecule of each ring (R,)."""
        return self.molecule[self.ring_atoms[self.ring[:-1]]]

    @cached_property
    def degree(self) -> np.ndarray:
        """Number of neighbours of each atom (A,)."""
        return np.bincount(self.begin, minlength=len(self.codes))

    @cached_property
    def _first_edge(self) -> np.ndarray:
        return np.cumsum(self.degree) - self.degree

    @cached_property
    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Each number in `around` once, and an atom that has it."""
        return np.unique(self.around, return_index=True)  # type: ignore[return-value]

    def step(self, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in `end` and `bond` of all neighbours of `atoms` (n,); for each the place in `atoms` it belongs to."""
        count = self.degree[atoms]
        origin = np.repeat(np.arange(len(atoms)), count)
        place = np.arange(len(origin)) + np.repeat(self._first_edge[atoms] - (np.cumsum(count) - count), count)
        return place, origin

    def edges(self, atom: int) -> list[tuple[int, int]]:
        """(kind, atom) of each neighbour of one atom."""
        span = slice(self._first_edge[atom], self._first_edge[atom] + self.degree[atom])
        return list(zip(self.kind[self.bond[span]].tolist(), self.end[span].tolist(), strict=True))

    def atom(self, number: int) -> Any:
        """RDKit's object of an atom."""
        molecule = int(self.molecule[number])
        return self.molecules[molecule].GetAtomWithIdx(int(number - self.start[molecule]))

    def any(self, molecules: np.ndarray) -> np.ndarray:
        """Which molecules (M,) are among `molecules`."""
        found = np.zeros(len(self), bool)
        found[molecules] = True
        return found

    def count(self, molecules: np.ndarray) -> np.ndarray:
        """How often each molecule (M,) is among `molecules`."""
        return np.bincount(molecules, minlength=len(self))


def read_surroundings(molecules: Sequence[Mol], smiles: Sequence[str]) -> tuple[Surroundings, np.ndarray]:
    """The surroundings of those molecules that have no atom or bond that these numbers would not tell apart.

    Molecules so large that RDKit stops counting matches are left out too. Also given: which are left in (int64,
    ascending). `smiles` are the texts they were parsed from. The tables of numbers are not made for several threads.
    """
    fit = [
        row
        for row, (molecule, text) in enumerate(zip(molecules, smiles, strict=True))
        if not _UNUSUAL_TEXT.search(text) and molecule.GetNumAtoms() <= _MOST_ATOMS
    ]
    read, usual = _read([molecules[row] for row in fit])
    if not usual.all():
        read = _only(read, usual)
    keys = row_keys(read.codes, read.begin, leaf(read.kind[read.bond], read.codes[read.end]))
    around = np.array(list(map(_neighbourhoods.__getitem__, keys)), dtype=np.int64)
    return replace(read, around=around), np.array(fit, dtype=np.int64)[usual]


def _read(molecules: list[Mol]) -> tuple[Surroundings, np.ndarray]:
    """The surroundings but for `around`, and which molecules are as they ought to be (M,)."""
    from rdkit.Chem import GetAdjacencyMatrix

    sizes = np.array([molecule.GetNumAtoms() for molecule in molecules], dtype=np.int64)
    start, squares = _starts(sizes), _starts(sizes**2)
    tables = [GetAdjacencyMatrix(molecule, True).ravel() for molecule in molecules]  # order of every bond
    table = np.concatenate(tables) if tables else np.zeros(0)
    place = table.nonzero()[0]
    of_edge = np.searchsorted(squares, place, "right") - 1
    begin, end = np.divmod(place - squares[of_edge], sizes[of_edge])
    begin, end = begin + start[of_edge], end + start[of_edge]
    twice = (2 * table[place]).astype(np.int64)

    atoms = max(1, int(start[-1]))
    first = begin < end
    pairs = begin[first] * atoms + end[first]  # ascending
    bond = np.searchsorted(pairs, np.minimum(begin, end) * atoms + np.maximum(begin, end))
    kind = _KINDS[np.minimum(twice[first], len(_KINDS) - 1)]
    usual = np.ones(len(molecules), bool)
    usual[of_edge[_KINDS[np.minimum(twice, len(_KINDS) - 1)] < 0]] = False

    rings = [molecule.GetRingInfo().AtomRings() for molecule in molecules]
    ring = _starts(np.array([len(one) for several in rings for one in several], dtype=np.int64))
    shift = np.repeat(start[:-1], [sum(map(len, several)) for several in rings])
    ring_atoms = np.array(list(chain.from_iterable(chain.from_iterable(rings))), dtype=np.int64) + shift
    after = np.arange(1, len(ring_atoms) + 1)
    after[ring[1:] - 1] = ring[:-1]
    following = ring_atoms[after]
    ring_bonds = np.searchsorted(pairs, np.minimum(ring_atoms, following) * atoms + np.maximum(ring_atoms, following))
    kind[np.unique(ring_bonds)] += IN_RING

    aromatic = np.zeros(int(start[-1]), bool)
    aromatic[begin[twice == 3]] = True
    arynes = kind == 2 + IN_RING  # RDKit counts their triple bonds as aromatic ones here and there
    usual[of_edge[first][arynes & aromatic[begin[first]] & aromatic[end[first]]]] = False
    codes = read_codes(
        molecules,
        start,
        aromatic=aromatic,
        degree=np.bincount(begin, minlength=len(aromatic)),
        rings=np.bincount(ring_atoms, minlength=len(aromatic)),
        orders=np.bincount(begin, twice, minlength=len(aromatic)).astype(np.int64),
    )
    numbers = elements(codes)
    of_atom = np.repeat(np.arange(len(sizes)), sizes)
    usual &= most_matches(codes, start) <= _MOST_MATCHES
    odd = of_atom[~np.isin(numbers, list(_USUAL_ELEMENTS))]
    for row in np.unique(odd).tolist():
        own = numbers[start[row] : start[row + 1]].tolist()  # a dative bond has the order of a single one
        usual[row] &= _DUMMY_OR_HYDROGEN.isdisjoint(own) and all(
            bond.GetBondType() in _USUAL_BONDS for bond in molecules[row].GetBonds()
        )
    nothing = np.zeros(0, np.int64)
    return Surroundings(molecules, start, codes, begin, end, bond, kind, ring, ring_atoms, ring_bonds, nothing), usual


def _only(read: Surroundings, wanted: np.ndarray) -> Surroundings:
    """Some of the molecules, `wanted` (M,), without `around`."""
    atoms, bonds, rings = wanted[read.molecule], wanted[read.bond_molecule], wanted[read.ring_molecule]
    atom_number, bond_number = np.cumsum(atoms) - 1, np.cumsum(bonds) - 1
    edges, ring_places = atoms[read.begin], np.repeat(rings, np.diff(read.ring))
    return Surroundings(
        molecules=[molecule for molecule, kept in zip(read.molecules, wanted, strict=True) if kept],
        start=_starts(np.diff(read.start)[wanted]),
        codes=read.codes[atoms],
        begin=atom_number[read.begin[edges]],
        end=atom_number[read.end[edges]],
        bond=bond_number[read.bond[edges]],
        kind=read.kind[bonds],
        ring=_starts(np.diff(read.ring)[rings]),
        ring_atoms=atom_number[read.ring_atoms[ring_places]],
        ring_bonds=bond_number[read.ring_bonds[ring_places]],
        around=read.around,
    )


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Where each of several runs starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def leaf(kind: Any, code: Any) -> Any:
    """A neighbour as it stands in `AROUND`, of numbers or arrays."""
    return kind + KINDS * code


def leaf_of(number: int) -> tuple[int, int]:
    """Kind and code of a neighbour as it stands in `AROUND`."""
    return number % KINDS, number // KINDS


def row_keys(own: np.ndarray, begin: np.ndarray, others: np.ndarray) -> list[bytes]:
    """For each of `own` (n,) a key of it and of `others` (m,), in any order, that belong to it.

    `begin` (m,): the place in `own` of each of the others, ascending. All are numbers below 2^31 - 1.
    """
    if not len(own):
        return []
    count = np.bincount(begin, minlength=len(own))
    ordered = np.sort(begin << 32 | others) & 0xFFFFFFFF
    rows = np.zeros((len(own), 1 + count.max()), np.int32)  # numbers + 1, so that bytes of zero end a row
    rows[:, 0] = own + 1
    rows[begin, 1 + np.arange(len(begin)) - np.repeat(np.cumsum(count) - count, count)] = ordered + 1
    return rows.view(f"S{rows.shape[1] * rows.itemsize}")[:, 0].tolist()
