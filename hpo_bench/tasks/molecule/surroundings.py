"""A molecule as RDKit parsed it, read once: what every atom is and what it is bonded to, as small interned numbers.

Two atoms with one `Surroundings.around` entry have the same neighbourhood of radius one, so whatever depends on that
alone (most functional groups, MACCS keys and Crippen types) is worked out once and looked up ever after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Text with none of these gives a molecule without stereo labels and with bonds of the four usual types only.
_UNUSUAL_TEXT = frozenset("@/\\|>~$")
# Metals may be given dative bonds, which have the order of a single one; explicit hydrogens look further than one bond.
_USUAL_ELEMENTS = frozenset({5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
_KINDS = {1.0: 0, 2.0: 1, 3.0: 2, 1.5: 3}  # bond order to the category of `BOND_FEATURES`
IN_RING = 8  # added to the kind of a bond in a ring
NITROGEN = 7

AtomCode = tuple[int, int, int, bool, int, int, int]


@dataclass(frozen=True)
class Surroundings:
    """One molecule of N atoms.

    codes: of each atom (atomic number, charge, hydrogens, aromatic, degree, rings, valence of a nitrogen else 0).
    bonds: of each bond (begin, end, kind), kind = category of its type + IN_RING where it is in a ring.
    around: of each atom (its code, the sorted (kind, code) of its neighbours). neighbours: of each atom its
    (kind, atom number). rings: the atoms of each ring of the smallest set.
    """

    molecule: Mol
    codes: list[AtomCode]
    bonds: list[tuple[int, int, int]]
    neighbours: list[list[tuple[int, int]]]
    around: list[tuple[AtomCode, tuple[tuple[int, AtomCode], ...]]]
    rings: tuple[tuple[int, ...], ...]


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
    in_ring = {number for ring in ring_info.BondRings() for number in ring}
    bonds: list[tuple[int, int, int]] = []
    neighbours: list[list[tuple[int, int]]] = [[] for _ in atoms]
    for number in range(molecule.GetNumBonds()):
        bond = bond_at(number)
        kind = _KINDS.get(bond.GetBondTypeAsDouble())
        if kind is None:
            return None
        if number in in_ring:
            kind += IN_RING
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds.append((begin, end, kind))
        neighbours[begin].append((kind, end))
        neighbours[end].append((kind, begin))
    codes: list[AtomCode] = [
        (
            element,
            atom.GetFormalCharge(),
            atom.GetTotalNumHs(),
            atom.GetIsAromatic(),
            len(near),
            ring_number,
            atom.GetTotalValence() if element == NITROGEN else 0,
        )
        for atom, element, near, ring_number in zip(atoms, elements, neighbours, ring_count, strict=True)
    ]
    around = [
        (code, tuple(sorted([(kind, codes[other]) for kind, other in near])))
        for code, near in zip(codes, neighbours, strict=True)
    ]
    return Surroundings(molecule, codes, bonds, neighbours, around, rings)
