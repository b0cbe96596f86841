"""A molecule as RDKit parsed it, read once: what every atom is and what it is bonded to, as small interned numbers.

Two atoms with one `Surroundings.around` entry have the same neighbourhood of radius one, so whatever depends on that
alone (most functional groups, MACCS keys and Crippen types) is worked out once and looked up ever after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Text with none of these gives a molecule without stereo labels and with bonds of the four usual types only.
_UNUSUAL_TEXT = frozenset("@/\\|<>~$")
_DATIVE_TEXT = frozenset("<>")
_USUAL_ELEMENTS = frozenset({5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
_DUMMY_OR_HYDROGEN = frozenset({0, 1})  # hydrogens that are atoms look further than one bond
_USUAL_BONDS = frozenset({1, 2, 3, 12})  # rdkit.Chem.BondType: single, double, triple, aromatic
_KINDS = {1.0: 0, 2.0: 1, 3.0: 2, 1.5: 3}  # bond order to the category of `BOND_FEATURES`
IN_RING = 8  # added to the kind of a bond in a ring
NITROGEN = 7


class AtomCode(NamedTuple):
    """What an atom is, apart from its neighbours; `rings` of the smallest set, `valence` of a nitrogen alone."""

    element: int
    charge: int
    hydrogens: int
    aromatic: bool
    degree: int
    rings: int
    valence: int


ATOM_CODES: list[AtomCode] = []  # every kind of atom seen by this process; it only grows
_NUMBERS: dict[tuple[int, int, int, bool, int, int, int], int] = {}
AROUND: list[tuple[int, ...]] = []  # every kind of neighbourhood: a code and the sorted (kind, code) of its neighbours
_AROUND_NUMBERS: dict[tuple[int, ...], int] = {}
_KIND_SPAN = 2 * IN_RING  # kinds of bonds, when a kind and a code are one number


@dataclass(frozen=True)
class Surroundings:
    """One molecule of N atoms.

    codes: of each atom its number in `ATOM_CODES`. bonds: of each bond (begin, end, kind), kind = category of its type
    + IN_RING where it is in a ring. neighbours: of each atom its (kind, atom number). around: of each atom the number
    in `AROUND` of its code and the (kind, code) of its neighbours. rings, ring_bonds: of each ring of the smallest set
    its atoms, and its bonds as a mask.
    """

    molecule: Mol
    codes: list[int]
    bonds: list[tuple[int, int, int]]
    neighbours: list[list[tuple[int, int]]]
    around: list[int]
    rings: list[list[int]]
    ring_bonds: list[int]


def is_usual_text(smiles: str) -> bool:
    """Does the string promise a molecule without stereo labels and unusual bonds?"""
    return _UNUSUAL_TEXT.isdisjoint(smiles)


def read_surroundings(molecule: Mol, smiles: str | None = None) -> Surroundings | None:
    """The molecule's surroundings; None where it has an atom or a bond that these numbers would not tell apart.

    `smiles`: the text it was parsed from; without it every bond's type is looked at, which takes longer.
    """
    from rdkit.Chem import Atom, Bond

    atoms = list(map(molecule.GetAtomWithIdx, range(molecule.GetNumAtoms())))  # much faster than GetAtoms()
    elements = list(map(Atom.GetAtomicNum, atoms))
    bond_objects = list(map(molecule.GetBondWithIdx, range(molecule.GetNumBonds())))
    usual = _USUAL_ELEMENTS.issuperset(elements)
    if not usual and not _DUMMY_OR_HYDROGEN.isdisjoint(elements):
        return None
    look = not usual or smiles is None or not _DATIVE_TEXT.isdisjoint(smiles)
    if look and any(bond.GetBondType() not in _USUAL_BONDS for bond in bond_objects):
        return None  # a dative bond has the order of a single one
    try:
        kinds = [_KINDS[order] for order in map(Bond.GetBondTypeAsDouble, bond_objects)]
    except KeyError:
        return None
    ring_info = molecule.GetRingInfo()
    rings = [plain_list(ring) for ring in ring_info.AtomRings()]
    bond_rings = [plain_list(ring) for ring in ring_info.BondRings()]
    ring_count = [0] * len(atoms)
    for ring in rings:
        for number in ring:
            ring_count[number] += 1
    for number in set().union(*bond_rings):
        kinds[number] += IN_RING
    ends = map(Bond.GetBeginAtomIdx, bond_objects), map(Bond.GetEndAtomIdx, bond_objects)
    bonds = list(zip(*ends, kinds, strict=True))
    if 2 + IN_RING in kinds and any(
        kind == 2 + IN_RING and atoms[begin].GetIsAromatic() and atoms[end].GetIsAromatic()
        for begin, end, kind in bonds
    ):
        return None  # an aryne: RDKit counts its triple bond as an aromatic one here and there
    neighbours: list[list[tuple[int, int]]] = [[] for _ in atoms]
    for begin, end, kind in bonds:
        neighbours[begin].append((kind, end))
        neighbours[end].append((kind, begin))
    codes = _atom_codes(
        zip(
            elements,
            map(Atom.GetFormalCharge, atoms),
            map(Atom.GetTotalNumHs, atoms),
            map(Atom.GetIsAromatic, atoms),
            map(len, neighbours),
            ring_count,
            [atoms[a].GetTotalValence() if element == NITROGEN else 0 for a, element in enumerate(elements)],
            strict=True,
        )
    )
    spans = [_KIND_SPAN * code for code in codes]
    around = [
        (code, *sorted([spans[other] + kind for kind, other in near]))
        for code, near in zip(codes, neighbours, strict=True)
    ]
    return Surroundings(
        molecule,
        codes,
        bonds,
        neighbours,
        _numbers(around),
        rings,
        [reduce(or_, [1 << number for number in ring]) for ring in bond_rings],
    )


def _atom_codes(atoms: Iterable[tuple[int, int, int, bool, int, int, int]]) -> list[int]:
    """The number of each atom in `ATOM_CODES`, which grows where one is new."""
    codes = []
    for atom in atoms:
        place = _NUMBERS.get(atom)
        if place is None:
            place = _NUMBERS[atom] = len(ATOM_CODES)
            ATOM_CODES.append(AtomCode(*atom))
        codes.append(place)
    return codes


def _numbers(around: list[tuple[int, ...]]) -> list[int]:
    """The number of each neighbourhood in `AROUND`, which grows where one is new."""
    numbers = []
    for key in around:
        place = _AROUND_NUMBERS.get(key)
        if place is None:
            place = _AROUND_NUMBERS[key] = len(AROUND)
            AROUND.append(key)
        numbers.append(place)
    return numbers


def plain_list(vector: Any) -> list[Any]:
    """A vector of RDKit's, which is slow to iterate over, as a list."""
    return list(map(vector.__getitem__, range(len(vector))))


def leaf_of(number: int) -> tuple[int, int]:
    """Kind and code of a neighbour as it stands in `AROUND`."""
    return number % _KIND_SPAN, number // _KIND_SPAN
