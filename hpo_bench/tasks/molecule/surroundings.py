"""A molecule as RDKit parsed it, read once: what every atom is and what it is bonded to, as small interned numbers.

Two atoms with one `Surroundings.around` entry have the same neighbourhood of radius one, so whatever depends on that
alone (most functional groups, MACCS keys and Crippen types) is worked out once and looked up ever after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Text with none of these gives a molecule without stereo labels and with bonds of the four usual types only.
_UNUSUAL_TEXT = frozenset("@/\\|>~$")
# Metals may be given dative bonds, which have the order of a single one; explicit hydrogens look further than one bond.
_USUAL_ELEMENTS = frozenset({5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
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
_KIND_SPAN = 2 * IN_RING  # kinds of bonds, when a kind and a code are one number


@dataclass(frozen=True)
class Surroundings:
    """One molecule of N atoms.

    codes: of each atom its number in `ATOM_CODES`. bonds: of each bond (begin, end, kind), kind = category of its type
    + IN_RING where it is in a ring. neighbours: of each atom its (kind, atom number). around: of each atom its code and
    the sorted (kind, code) of its neighbours, as one tuple of numbers. rings, ring_bonds: of each ring of the smallest
    set its atoms, and its bonds as a mask.
    """

    molecule: Mol
    codes: list[int]
    bonds: list[tuple[int, int, int]]
    neighbours: list[list[tuple[int, int]]]
    around: list[tuple[int, ...]]
    rings: tuple[tuple[int, ...], ...]
    ring_bonds: list[int]


def is_usual_text(smiles: str) -> bool:
    """Does the string promise a molecule without stereo labels and unusual bonds?"""
    return _UNUSUAL_TEXT.isdisjoint(smiles)


def read_surroundings(molecule: Mol) -> Surroundings | None:
    """The molecule's surroundings; None where it has an element or a bond that these numbers would not tell apart."""
    atom_at, bond_at = molecule.GetAtomWithIdx, molecule.GetBondWithIdx
    atoms = [atom_at(number) for number in range(molecule.GetNumAtoms())]
    elements = [atom.GetAtomicNum() for atom in atoms]
    if not _USUAL_ELEMENTS.issuperset(elements):
        return None
    ring_info = molecule.GetRingInfo()
    rings = ring_info.AtomRings()
    ring_count = [0] * len(atoms)
    for ring in rings:
        for number in ring:
            ring_count[number] += 1
    ring_bonds = [reduce(or_, [1 << number for number in ring]) for ring in ring_info.BondRings()]
    in_ring = reduce(or_, ring_bonds, 0)
    bonds: list[tuple[int, int, int]] = []
    neighbours: list[list[tuple[int, int]]] = [[] for _ in atoms]
    for number in range(molecule.GetNumBonds()):
        bond = bond_at(number)
        kind = _KINDS.get(bond.GetBondTypeAsDouble())
        if kind is None:
            return None
        if in_ring >> number & 1:
            kind += IN_RING
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds.append((begin, end, kind))
        neighbours[begin].append((kind, end))
        neighbours[end].append((kind, begin))
    codes = []
    for atom, element, near, ring_number in zip(atoms, elements, neighbours, ring_count, strict=True):
        code = (
            element,
            atom.GetFormalCharge(),
            atom.GetTotalNumHs(),
            atom.GetIsAromatic(),
            len(near),
            ring_number,
            atom.GetTotalValence() if element == NITROGEN else 0,
        )
        place = _NUMBERS.get(code)
        if place is None:
            place = _NUMBERS[code] = len(ATOM_CODES)
            ATOM_CODES.append(AtomCode(*code))
        codes.append(place)
    around = [
        (code, *sorted([_KIND_SPAN * codes[other] + kind for kind, other in near]))
        for code, near in zip(codes, neighbours, strict=True)
    ]
    return Surroundings(molecule, codes, bonds, neighbours, around, rings, ring_bonds)
