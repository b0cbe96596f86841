"""MACCS keys that ask for chains of atoms (oxygen, any, any, oxygen), or count bonds, found by walking the molecule.

Atoms of a chain all differ, as in RDKit's matches. In the comments ~ is a bond, * any atom, Q one that is neither
carbon nor hydrogen, QH one with hydrogens.
"""

from __future__ import annotations

from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, IN_RING, NITROGEN, AtomCode, Surroundings

_N, _O, _Q, _QH, _CH2, _CH3, _RING = (1 << bit for bit in range(7))
_CARBON, _OXYGEN = 6, 8
_AROMATIC = 3  # category of a bond

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

_flags: list[int] = []  # of each of `ATOM_CODES`


def chain_keys(surroundings: Surroundings) -> dict[int, bool]:
    """The keys that were decided; of `OR_RINGS` those that a chain meets."""
    for code in ATOM_CODES[len(_flags) :]:
        _flags.append(_flags_of(code))
    flags = [_flags[code] for code in surroundings.codes]
    next_to = [[other for _, other in near] for near in surroundings.neighbours]
    return _by_bond(surroundings, flags) | _between(flags, next_to) | _before_methylene(flags, next_to)


def _flags_of(code: AtomCode) -> int:
    carbon = code.element == _CARBON and not code.aromatic
    hetero = code.element not in (_CARBON, 1)
    return (
        _N * (code.element == NITROGEN)
        | _O * (code.element == _OXYGEN)
        | _Q * hetero
        | _QH * (hetero and code.hydrogens > 0)
        | _CH2 * (carbon and code.hydrogens == 2)
        | _CH3 * (carbon and code.hydrogens == 3)
        | _RING * (code.rings > 0)
    )


def _by_bond(surroundings: Surroundings, flags: list[int]) -> dict[int, bool]:
    """62: two rings joined by a bond; 150: a bond of a ring with a bond that is in none at both ends; 144: an aromatic

    bond with a bond that is not at both ends; 127: oxygen on a ring (the ring's two bonds make it two); 130: two Q~Q;
    136: two double bonds with oxygen.
    """
    chain, plain = [0] * len(flags), [0] * len(flags)  # neighbours by a bond in no ring, by one that is not aromatic
    rings: list[tuple[int, int]] = []
    aromatic: list[tuple[int, int]] = []
    joined = oxygen = False
    hetero = double = 0
    for begin, end, kind in surroundings.bonds:
        one, other = flags[begin], flags[end]
        if one & other & _Q:
            hetero += 1
        if kind < IN_RING:
            chain[begin] = chain[end] = 1
            if (one | other) & _RING:
                if one & other & _RING:
                    joined = True
                if (one & _RING and other & _O) or (other & _RING and one & _O):
                    oxygen = True
        else:
            rings.append((begin, end))
            kind -= IN_RING
        if kind == _AROMATIC:
            aromatic.append((begin, end))
            continue
        plain[begin] |= 1 << end
        plain[end] |= 1 << begin
        if kind == 1 and (one | other) & _O:
            double += 1
    return {
        62: joined,
        127: oxygen,
        130: hetero > 1,
        136: double > 1,
        144: any(plain[a] and plain[b] and (plain[a] | plain[b]).bit_count() > 1 for a, b in aromatic),
        150: any(chain[a] and chain[b] for a, b in rings),
    }


def _between(flags: list[int], next_to: list[list[int]]) -> dict[int, bool]:
    """Chains of four and five atoms between nitrogen, oxygen and QH."""
    starts = [number for number, flag in enumerate(flags) if flag & (_N | _O | _QH)]
    met: dict[int, bool] = dict.fromkeys((*_THREE_APART, *_FOUR_APART), False)
    if len(starts) < 2:
        return met
    for first in starts:
        third = fourth = 0
        for second in next_to[first]:
            for middle in next_to[second]:
                if middle == first:
                    continue
                for last in next_to[middle]:
                    if last in (second, first):
                        continue
                    third |= flags[last]
                    for beyond in next_to[last]:
                        if beyond != middle and beyond != second and beyond != first:
                            fourth |= flags[beyond]
        for reached, keys in ((third, _THREE_APART), (fourth, _FOUR_APART)):
            if reached & (_N | _O | _QH):
                for key, (one, other) in keys.items():
                    if flags[first] & one and reached & other:
                        met[key] = True
    return met


def _before_methylene(flags: list[int], next_to: list[list[int]]) -> dict[int, bool]:
    """Chains that end in CH2~*; 118: two atoms next to CH2~CH2, 147: one; 128 and 129: chains between two CH2 that

    each have an atom more; 138: two triples Q~CH2~*.
    """
    starts: set[int] = set()
    triples: set[frozenset[int]] = set()
    two = three = four = 0  # flags of what is that many bonds before a CH2
    long = longer = False
    for methylene, flag in enumerate(flags):
        near = next_to[methylene]
        if not flag & _CH2 or len(near) < 2:
            continue
        left, right = near
        if (flags[left] | flags[right]) & _Q:
            triples.add(frozenset((methylene, left, right)))
        for after, first in ((left, right), (right, left)):
            if flags[first] & _CH2 and len(next_to[first]) > 1:
                starts.add(after)
            for second in next_to[first]:
                if second in (methylene, after):
                    continue
                two |= flags[second]
                for third in next_to[second]:
                    if third in (first, methylene, after):
                        continue
                    seen = flags[third]
                    three |= seen
                    for fourth in next_to[third]:
                        if fourth in (second, first, methylene, after):
                            continue
                        four |= flags[fourth]
                        if seen & _CH2:
                            long = True
                        if not longer and flags[fourth] & _CH2:
                            path = (third, second, first, methylene, after)
                            longer = any(beyond not in path for beyond in next_to[fourth])
    met = {118: len(starts) > 1, 147: len(starts) > 0, 138: len(triples) > 1}
    for reached, keys in ((two, _TWO_BEFORE), (three, _THREE_BEFORE), (four, _FOUR_BEFORE)):
        for key, wanted in keys.items():
            met[key] = reached & wanted > 0
    met[128], met[129] = longer, long
    return {key: answer for key, answer in met.items() if answer or key not in OR_RINGS}
