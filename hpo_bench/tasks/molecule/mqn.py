"""Molecular quantum numbers (Nguyen et al. 2009) as RDKit counts them, summed over looked-up atoms and bonds.

Nearly all of RDKit's time goes into one of the 42 numbers, the rotatable bonds. Whether a bond is one depends on
triple bonds, groups like CF3, and amides and their like around its ends. RDKit only tells how many there are in a
molecule: a bond of a new kind is known by what is left when the known ones are taken away.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, NamedTuple

from hpo_bench.tasks.molecule.surroundings import AROUND, ATOM_CODES, IN_RING, Surroundings, leaf_of

_NUMBERS = 42
_DIGIT = 32  # bits of one number where they are all packed in one
_UNPACK = struct.Struct(f"<{_NUMBERS}I")
# Places of the numbers, in RDKit's order.
_ELEMENTS = {6: 0, 9: 1, 17: 2, 35: 3, 53: 4, 16: 5, 15: 6}
_HETERO = {7: 7, 8: 9}  # outside rings; in rings the next one
_HEAVY, _CHAIN_BONDS, _RING_BONDS, _ROTATABLE = 11, 12, 15, 18
_ACCEPTOR_SITES, _ACCEPTORS, _DONOR_SITES, _DONORS, _NEGATIVE, _POSITIVE = 19, 20, 21, 22, 23, 24
_DEGREES, _RING_DEGREES = 24, 27  # plus the degree
_RING_SIZES, _LARGE_RINGS, _FUSED_ATOMS, _FUSED_BONDS = 29, 39, 40, 41  # the first plus the size
_AMIDE, _HALOGENS = (7, 8, 16), (9, 17, 35)
_METHYL = 6, 3  # element, hydrogens

_packed: list[int] = []  # of each of `ATOM_CODES`
_ends: list[_End] = []  # of each of `AROUND`
_end_numbers: dict[Any, int] = {}
_rotatable: dict[tuple[int, int], bool] = {}


def quantum_numbers(surroundings: Surroundings) -> list[int]:
    """The 42 numbers, equal to RDKit's `MQNs_`."""
    for code in ATOM_CODES[len(_packed) :]:
        _packed.append(sum(count << _DIGIT * place for place, count in _atom_numbers(*code[:6]).items()))
    total = sum([_packed[code] for code in surroundings.codes])
    numbers = list(_UNPACK.unpack(total.to_bytes(_UNPACK.size, "little")))
    kinds = [kind for _, _, kind in surroundings.bonds]
    for order in range(3):
        numbers[_CHAIN_BONDS + order] = kinds.count(order)
        numbers[_RING_BONDS + order] = kinds.count(IN_RING + order)
    aromatic = kinds.count(3) + kinds.count(IN_RING + 3)  # shared among single and double bonds
    numbers[_RING_BONDS] += aromatic - aromatic // 2
    numbers[_RING_BONDS + 1] += aromatic // 2
    numbers[_ROTATABLE] = rotatable_bonds(surroundings)
    once = twice = 0
    for ring, bonds in zip(surroundings.rings, surroundings.ring_bonds, strict=True):
        numbers[min(_RING_SIZES + len(ring), _LARGE_RINGS)] += 1
        twice |= once & bonds
        once |= bonds
    numbers[_FUSED_BONDS] = twice.bit_count()
    return numbers


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


def rotatable_bonds(surroundings: Surroundings) -> int:
    """Number of rotatable bonds, equal to RDKit's `CalcNumRotatableBonds`."""
    from rdkit.Chem import rdMolDescriptors

    neighbours = surroundings.neighbours
    keys = []
    for begin, end, kind in surroundings.bonds:
        if kind == 0 and len(neighbours[begin]) > 1 and len(neighbours[end]) > 1:
            one, other = _seen(surroundings, begin), _seen(surroundings, end)
            keys.append((one, other) if one < other else (other, one))
    known = [_rotatable.get(key) for key in keys]
    if None not in known:
        return sum(known)  # type: ignore[arg-type]
    total: int = rdMolDescriptors.CalcNumRotatableBonds(surroundings.molecule)
    new = [key for key, answer in zip(keys, known, strict=True) if answer is None]
    left = total - sum(1 for answer in known if answer)
    if left in (0, len(new)):
        _rotatable.update(dict.fromkeys(new, left > 0))
    return total


def _seen(surroundings: Surroundings, number: int) -> int:
    """A number for all that makes an end of a bond fit for turning."""
    for key in AROUND[len(_ends) :]:
        _ends.append(_end(key))
    ends, around = _ends, surroundings.around
    end = ends[around[number]]
    if end.hetero:
        for kind, other in surroundings.neighbours[number]:
            if kind == 0 and ends[around[other]].carbonyl:
                return -1 - end.number
    return end.number


class _End(NamedTuple):
    """An atom and its neighbours: a number for what it is; nitrogen, oxygen or sulphur; doubly bonded to such a one."""

    number: int
    hetero: bool
    carbonyl: bool


def _end(key: tuple[int, ...]) -> _End:
    atom = ATOM_CODES[key[0]]
    leaves = [(kind, ATOM_CODES[code]) for kind, code in map(leaf_of, key[1:])]
    alike = Counter(
        leaf.element for _, leaf in leaves if leaf.element in _HALOGENS or (leaf.element, leaf.hydrogens) == _METHYL
    )
    carbonyl = atom.element == 6 and any(kind % IN_RING == 1 and leaf.element in _AMIDE for kind, leaf in leaves)
    turns = (
        atom.element if atom.element in (6, *_AMIDE) else 0,
        atom.aromatic,
        atom.degree == 3,
        any(kind % IN_RING == 2 for kind, _ in leaves),
        max(alike.values(), default=0) >= 3,
        carbonyl,
        frozenset((leaf.element, leaf.degree > 1) for kind, leaf in leaves if kind == 0 and leaf.element in _AMIDE),
    )
    number = _end_numbers.setdefault(turns, len(_end_numbers))
    return _End(number, atom.element in _AMIDE, carbonyl and atom.degree == 3 and not atom.aromatic)
