"""MACCS keys that ask for chains of atoms (oxygen, any, any, oxygen), or count bonds, found by walking the molecules.

Atoms of a chain all differ, as in RDKit's matches. In the comments ~ is a bond, * any atom, Q one that is neither
carbon nor hydrogen, QH one with hydrogens.
"""

from __future__ import annotations

import numpy as np

from hpo_bench.tasks.molecule.codes import NITROGEN, AtomCode, ByCode
from hpo_bench.tasks.molecule.surroundings import AROMATIC, IN_RING, Surroundings

_N, _O, _Q, _QH, _CH2, _CH3, _RING = (1 << bit for bit in range(7))
_CARBON, _OXYGEN = 6, 8

# Both ends by number of bonds between them: key to what the two atoms are.
_THREE_APART = {54: (_QH, _QH), 72: (_O, _O), 79: (_N, _N), 95: (_N, _O)}
_FOUR_APART = {53: (_QH, _QH), 80: (_N, _N), 89: (_O, _O), 97: (_N, _O)}
# X~..~CH2~*, by number of bonds between X and CH2: key to what X is.
_TWO_BEFORE = {104: _QH, 111: _N, 115: _CH3, 132: _O}
_THREE_BEFORE = {90: _QH, 116: _CH3}
_FOUR_BEFORE = {91: _QH, 108: _CH3}
OR_RINGS = (90, 91, 116, 128, 129)  # these may also be met by a ring, which is not looked for here
ALWAYS = frozenset(
    {62, 118, 127, 130, 136, 138, 144, 147, 150, *_THREE_APART, *_FOUR_APART, *_TWO_BEFORE, *_FOUR_BEFORE}
).difference(OR_RINGS)  # decided here


def chain_keys(surroundings: Surroundings) -> dict[int, np.ndarray]:
    """For each of `ALWAYS` and `OR_RINGS` which molecules (M,) meet it with a chain."""
    flags = _flags(surroundings.codes)[:, 0]
    return _by_bond(surroundings, flags) | _between(surroundings, flags) | _before_methylene(surroundings, flags)


def _flags_of(code: AtomCode) -> list[int]:
    carbon = code.element == _CARBON and not code.aromatic
    hetero = code.element not in (_CARBON, 1)
    return [
        _N * (code.element == NITROGEN)
        | _O * (code.element == _OXYGEN)
        | _Q * hetero
        | _QH * (hetero and code.hydrogens > 0)
        | _CH2 * (carbon and code.hydrogens == 2)
        | _CH3 * (carbon and code.hydrogens == 3)
        | _RING * (code.rings > 0)
    ]


_flags = ByCode(_flags_of)


def _by_bond(surroundings: Surroundings, flags: np.ndarray) -> dict[int, np.ndarray]:
    """62: two rings joined by a bond; 150: a bond of a ring with a bond that is in none at both ends; 144: an aromatic

    bond with a bond that is not at both ends; 127: oxygen on a ring (the ring's two bonds make it two); 130: two Q~Q;
    136: two double bonds with oxygen.
    """
    (begin, end), kind, molecule = surroundings.ends, surroundings.kind, surroundings.bond_molecule
    one, other = flags[begin], flags[end]
    single, aromatic = kind < IN_RING, kind % IN_RING == AROMATIC
    on_ring = (one & _RING > 0) & (other & _O > 0) | (other & _RING > 0) & (one & _O > 0)
    double = (kind % IN_RING == 1) & ((one | other) & _O > 0)
    chain = np.zeros(len(flags), bool)  # atoms with a bond in no ring
    chain[begin[single]] = chain[end[single]] = True
    # neighbours by a bond that is not aromatic: how many, and which where it is one
    near, far = np.concatenate([begin, end]), np.concatenate([end, begin])
    plain = ~np.concatenate([aromatic, aromatic])
    count = np.bincount(near[plain], minlength=len(flags))
    which = np.zeros(len(flags), np.int64)
    which[near[plain]] = far[plain]
    lone = (count[begin] == 1) & (count[end] == 1) & (which[begin] == which[end])
    return {
        62: surroundings.any(molecule[single & (one & other & _RING > 0)]),
        127: surroundings.any(molecule[single & on_ring]),
        130: surroundings.count(molecule[one & other & _Q > 0]) > 1,
        136: surroundings.count(molecule[double]) > 1,
        144: surroundings.any(molecule[aromatic & (count[begin] > 0) & (count[end] > 0) & ~lone]),
        150: surroundings.any(molecule[~single & chain[begin] & chain[end]]),
    }


def _between(surroundings: Surroundings, flags: np.ndarray) -> dict[int, np.ndarray]:
    """Chains of four and five atoms between nitrogen, oxygen and QH."""
    ends = np.flatnonzero(flags & (_N | _O | _QH))
    several = surroundings.count(surroundings.molecule[ends]) > 1
    first = ends[several[surroundings.molecule[ends]]]
    three = _longer(surroundings, _longer(surroundings, _longer(surroundings, [first])))
    four = _longer(surroundings, three)
    return _met(surroundings, flags, three, _THREE_APART) | _met(surroundings, flags, four, _FOUR_APART)


def _kept(where: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    return [array[where] for array in arrays]


def _met(
    surroundings: Surroundings,
    flags: np.ndarray,
    path: list[np.ndarray],
    keys: dict[int, tuple[int, int]],
) -> dict[int, np.ndarray]:
    """Which keys the ends of chains meet, by molecule (M,)."""
    first, last = path[0], path[-1]
    one, other = flags[first], flags[last]
    return {
        key: surroundings.any(surroundings.molecule[first[(one & mine > 0) & (other & yours > 0)]])
        for key, (mine, yours) in keys.items()
    }


def _before_methylene(surroundings: Surroundings, flags: np.ndarray) -> dict[int, np.ndarray]:
    """Chains that end in CH2~*; 118: two atoms next to CH2~CH2, 147: one; 128 and 129: chains between two CH2 that

    each have an atom more; 138: two triples Q~CH2~*.
    """
    molecule = surroundings.molecule
    methylene = np.flatnonzero(flags & _CH2)
    place, origin = surroundings.step(methylene)
    first, methylene, after = _longer(surroundings, [surroundings.end[place], methylene[origin]])
    triples = np.stack([methylene, first, after], axis=1)[flags[first] & _Q > 0]
    triples = np.unique(np.sort(triples, axis=1), axis=0)
    beside = np.unique(after[(flags[first] & _CH2 > 0) & (surroundings.degree[first] > 1)])
    found = {
        118: surroundings.count(molecule[beside]) > 1,
        147: surroundings.any(molecule[beside]),
        138: surroundings.count(molecule[triples[:, 0]]) > 1,
    }

    path = [after, methylene, first]
    for keys in (_TWO_BEFORE, _THREE_BEFORE, _FOUR_BEFORE):
        path = _longer(surroundings, path)
        for key, wanted in keys.items():
            found[key] = surroundings.any(molecule[path[-1][flags[path[-1]] & wanted > 0]])
    *_, third, fourth = path
    found[129] = surroundings.any(molecule[third[flags[third] & _CH2 > 0]])
    path = _longer(surroundings, _kept(flags[fourth] & _CH2 > 0, *path))
    found[128] = surroundings.any(molecule[path[-1]])
    return found


def _longer(surroundings: Surroundings, path: list[np.ndarray]) -> list[np.ndarray]:
    """All chains, each an entry of several arrays, with one atom more."""
    place, origin = surroundings.step(path[-1])
    last = surroundings.end[place]
    path = [atoms[origin] for atoms in path]
    new = np.ones(len(last), bool)
    for atoms in path[:-1]:
        new &= last != atoms
    return _kept(new, *path, last)
