"""Molecular quantum numbers (Nguyen et al. 2009) as RDKit counts them, summed over looked-up atoms and bonds.

Nearly all of RDKit's time goes into one of the 42 numbers, the rotatable bonds. Whether a bond is one depends on
triple bonds, groups like CF3, and amides and their like around its ends. RDKit only tells how many there are in a
molecule: a bond of a new kind is known by what is left when the known ones are taken away.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from hpo_bench.tasks.molecule.codes import ATOM_CODES, NITROGEN, AtomCode, ByCode
from hpo_bench.tasks.molecule.lookup import ByNeighbourhood
from hpo_bench.tasks.molecule.surroundings import AROMATIC, AROUND, IN_RING, KINDS, Surroundings, leaf_of

_NUMBERS = 42
# Places of the numbers, in RDKit's order.
_ELEMENTS = {6: 0, 9: 1, 17: 2, 35: 3, 53: 4, 16: 5, 15: 6}
_HETERO = {7: 7, 8: 9}  # outside rings; in rings the next one
_HEAVY, _CHAIN_BONDS, _RING_BONDS, _ROTATABLE = 11, 12, 15, 18
_ACCEPTOR_SITES, _ACCEPTORS, _DONOR_SITES, _DONORS, _NEGATIVE, _POSITIVE = 19, 20, 21, 22, 23, 24
_DEGREES, _RING_DEGREES = 24, 27  # plus the degree
_RING_SIZES, _LARGE_RINGS, _FUSED_ATOMS, _FUSED_BONDS = 29, 39, 40, 41  # the first plus the size
_AMIDE, _HALOGENS = (7, 8, 16), (9, 17, 35)
_METHYL = 6, 3  # element, hydrogens

_turns: dict[Any, int] = {}  # number of each kind of end of a bond
_rotatable: dict[int, int] = {}  # 1 or 0 by both ends of a bond, in one number


def quantum_numbers(surroundings: Surroundings) -> np.ndarray:
    """The 42 numbers of each molecule (M, 42), equal to RDKit's `MQNs_`."""
    starts = surroundings.start[:-1]
    if not len(starts):
        return np.zeros((0, _NUMBERS), np.int64)
    numbers = np.add.reduceat(_of_atom(surroundings.codes), starts)
    kinds = np.bincount(surroundings.bond_molecule * KINDS + surroundings.kind, minlength=KINDS * len(starts))
    kinds = kinds.reshape(len(starts), KINDS)
    numbers[:, _CHAIN_BONDS : _CHAIN_BONDS + 3] = kinds[:, :3]
    numbers[:, _RING_BONDS : _RING_BONDS + 3] = kinds[:, IN_RING : IN_RING + 3]
    aromatic = kinds[:, AROMATIC] + kinds[:, IN_RING + AROMATIC]  # shared among single and double bonds
    numbers[:, _RING_BONDS] += aromatic - aromatic // 2
    numbers[:, _RING_BONDS + 1] += aromatic // 2
    numbers[:, _ROTATABLE] = rotatable_bonds(surroundings)
    places = np.minimum(_RING_SIZES + np.diff(surroundings.ring), _LARGE_RINGS)
    np.add.at(numbers, (surroundings.ring_molecule, places), 1)
    rings_of_bond = np.bincount(surroundings.ring_bonds, minlength=len(surroundings.kind))
    numbers[:, _FUSED_BONDS] = surroundings.count(surroundings.bond_molecule[rings_of_bond > 1])
    return numbers


def _numbers_of(code: AtomCode) -> list[int]:
    found = _atom_numbers(*code[:6])
    return [found.get(place, 0) for place in range(_NUMBERS)]


_of_atom = ByCode(_numbers_of)


def _atom_numbers(element: int, charge: int, hydrogens: int, aromatic: bool, degree: int, rings: int) -> dict[int, int]:
    """What one atom adds, by place."""
    found = {_HEAVY: 1}
    if element in _ELEMENTS:
        found[_ELEMENTS[element]] = 1
    if element in _HETERO:
        found[_HETERO[element] + (rings > 0)] = 1
        found[_DONOR_SITES], found[_DONORS] = hydrogens, int(hydrogens > 0)
        nitrogen_sites = int(degree != 4)
        found[_ACCEPTORS] = nitrogen_sites if element == 7 else 1
        found[_ACCEPTOR_SITES] = nitrogen_sites if element == 7 else 3 if charge == -1 else 2
    if charge:
        found[_POSITIVE if charge > 0 else _NEGATIVE] = 1
    if degree == 1 or 2 <= degree <= 4:
        found[_RING_DEGREES + degree if rings and degree > 1 else _DEGREES + degree] = 1
    found[_FUSED_ATOMS] = int(rings > 1)
    return found


def rotatable_bonds(surroundings: Surroundings) -> np.ndarray:
    """Number of rotatable bonds of each molecule (M,), equal to RDKit's `CalcNumRotatableBonds`."""
    from rdkit.Chem import rdMolDescriptors

    begin, end = surroundings.ends
    inner = (surroundings.kind == 0) & (surroundings.degree[begin] > 1) & (surroundings.degree[end] > 1)
    seen = _seen(surroundings)
    one, other = seen[begin[inner]], seen[end[inner]]
    keys = (np.minimum(one, other) << 32 | np.maximum(one, other)).tolist()
    turns = np.array([_rotatable.get(key, -1) for key in keys], dtype=np.int64)
    molecule = surroundings.bond_molecule[inner]
    total = surroundings.count(molecule[turns > 0])
    for row in np.unique(molecule[turns < 0]).tolist():
        own = [keys[bond] for bond in np.flatnonzero(molecule == row).tolist()]
        new = [key for key in own if key not in _rotatable]
        known = sum(_rotatable.get(key, 0) for key in own)
        if new:
            total[row] = rdMolDescriptors.CalcNumRotatableBonds(surroundings.molecules[row])
            if total[row] - known in (0, len(new)):
                _rotatable.update(dict.fromkeys(new, int(total[row] > known)))
        else:  # known since a molecule before it
            total[row] = known
    return total


def _seen(surroundings: Surroundings) -> np.ndarray:
    """Of each atom (A,) a number for all that makes it fit for being an end of a bond that turns."""
    number, hetero, carbonyl = _ends(surroundings).T
    begin, end = surroundings.begin, surroundings.end
    beside = (hetero[begin] > 0) & (carbonyl[end] > 0) & (surroundings.kind[surroundings.bond] == 0)
    amide = np.zeros(len(number), bool)
    amide[begin[beside]] = True
    return 2 * number + amide


def _end(key: tuple[int, ...]) -> tuple[int, bool, bool]:
    """Of a neighbourhood: a number for what it is; may it be the N (or O, S) of an amide; may it be its carbon?"""
    atom = ATOM_CODES[key[0]]
    leaves = [(kind, ATOM_CODES[code]) for kind, code in map(leaf_of, key[1:])]
    alike = Counter(
        leaf.element for _, leaf in leaves if leaf.element in _HALOGENS or (leaf.element, leaf.hydrogens) == _METHYL
    )
    carbonyl = atom.element == 6 and any(
        kind % IN_RING == 1 and leaf.element in _AMIDE and not leaf.aromatic for kind, leaf in leaves
    )
    turns = (
        atom.element if atom.element in (6, *_AMIDE) else 0,
        atom.aromatic,
        atom.degree == 3,
        any(kind % IN_RING == 2 for kind, _ in leaves),
        max(alike.values(), default=0) >= 3 or (atom.element, atom.hydrogens) == _METHYL,
        carbonyl,
        frozenset((leaf.element, leaf.degree > 1) for kind, leaf in leaves if kind == 0 and _in_amide(leaf)),
    )
    which = _turns.setdefault(turns, len(_turns))
    return which, _in_amide(atom), carbonyl and atom.degree == 3 and not atom.aromatic


def _in_amide(code: AtomCode) -> bool:
    """Whether the single bond of such an atom to C=O may be that of an amide or its like; aromatic O and S are not."""
    return code.element in _AMIDE and (code.element == NITROGEN or not code.aromatic)


def _new_ends(surroundings: Surroundings, atoms: np.ndarray) -> list[tuple[int, bool, bool]]:
    return [_end(AROUND[number]) for number in surroundings.around[atoms].tolist()]


_ends = ByNeighbourhood(3, _new_ends)
