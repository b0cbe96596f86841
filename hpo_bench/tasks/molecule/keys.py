"""MACCS keys of a molecule whose surroundings were read: RDKit's 167 bits, most of them looked up.

Key definitions: `rdkit.Chem.MACCSkeys.smartsPatts` (SMARTS and a count to exceed). Keys 125 (more than one aromatic
ring) and 166 (more than one fragment) have no SMARTS; key 1 is never set.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hpo_bench.tasks.molecule.cycles import simple_cycle, sums_of_rings
from hpo_bench.tasks.molecule.screen import PatternScreen
from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, IN_RING, Surroundings

_CARBON_HYDROGEN = (6, 1)
_ANY_RING = {22: 3, 11: 4, 96: 5, 163: 6, 19: 7}  # key: size of a ring
_HETERO_RING = {16: 3, 8: 4, 83: 5, 98: 6}  # with an atom that is neither carbon nor hydrogen
_HETERO_SIZES = frozenset(_HETERO_RING.values())
_TWO_SIX_RINGS, _LARGE_RING, _AROMATIC_RINGS, _FRAGMENTS = 145, 101, 125, 166
_LARGE = range(8, 15)


@cache
def _screen() -> tuple[PatternScreen, list[int], list[tuple[int, int]], list[tuple[int, int, Any]]]:
    """The screen, the key of each of its patterns, and the keys that ask for more than a number (to exceed):

    of single atoms, in the order of the screen's counted ones, and of larger patterns, with the pattern.
    """
    from rdkit import Chem
    from rdkit.Chem.MACCSkeys import smartsPatts

    asked = {key: Chem.MolFromSmarts(smarts) for key, (smarts, _) in smartsPatts.items() if smarts != "?"}
    more = {key: count for key, (_, count) in smartsPatts.items() if count}
    single = [key for key in more if asked[key].GetNumAtoms() == 1 and "$" not in smartsPatts[key][0]]
    screened = [key for key in asked if key not in single]
    screen = PatternScreen([asked[key] for key in screened], [smartsPatts[key][0] for key in single])
    several = [(key, count, asked[key]) for key, count in more.items() if key not in single]
    return screen, screened, [(key, more[key]) for key in single], several


def maccs_bits(surroundings: Surroundings) -> list[int]:
    """MACCS keys (167,), equal to RDKit's `GetMACCSKeysFingerprint`."""
    from rdkit.Chem import GetMolFrags

    screen, keys, single, several = _screen()
    molecule = surroundings.molecule
    bits = [0] * 167
    stars, numbers = screen.look(surroundings)
    for (key, limit), number in zip(single, numbers, strict=True):
        bits[key] = number > limit
    known = _ring_bits(surroundings)
    there, maybe = screen.candidates(stars)
    for number in there:
        bits[keys[number]] = 1
    for number, query in maybe:
        key = keys[number]
        if not bits[key]:
            bits[key] = known[key] if known is not None and key in known else molecule.HasSubstructMatch(query)
    for key, limit, pattern in several:
        if bits[key] and (known is None or key not in known):
            bits[key] = len(molecule.GetSubstructMatches(pattern)) > limit
    bits[_AROMATIC_RINGS] = _aromatic_rings(surroundings) > 1
    bits[_FRAGMENTS] = len(GetMolFrags(molecule)) > 1
    return bits


def _ring_bits(surroundings: Surroundings) -> dict[int, bool] | None:
    """The keys that ask for cycles; None where the molecule has too many to list them here."""
    sums = sums_of_rings(surroundings)
    if sums is None:
        return None
    elements = [ATOM_CODES[code].element for code in surroundings.codes]
    sizes: set[int] = set()  # of cycles
    hetero: set[int] = set()  # of cycles with an atom that is neither carbon nor hydrogen
    six: set[frozenset[int]] = set()

    def add(atoms: frozenset[int]) -> None:
        size = len(atoms)
        sizes.add(_LARGE.start if size in _LARGE else size)  # one large cycle is like another
        if size in _HETERO_SIZES and size not in hetero and any(elements[a] not in _CARBON_HYDROGEN for a in atoms):
            hetero.add(size)
        if size == 6:
            six.add(atoms)

    for ring in surroundings.rings:
        add(frozenset(ring))
    for total in sums:
        size = total.bit_count()
        if size in _LARGE:
            wanted = _LARGE.start not in sizes
        else:
            wanted = size not in sizes or (size in _HETERO_SIZES and size not in hetero) or (size == 6 and len(six) < 2)
        if wanted and size < _LARGE.stop and (atoms := simple_cycle(total, surroundings)):
            add(atoms)
    found = {key: size in sizes for key, size in _ANY_RING.items()}
    found |= {key: size in hetero for key, size in _HETERO_RING.items()}
    return {**found, _TWO_SIX_RINGS: len(six) > 1, _LARGE_RING: _LARGE.start in sizes}


def _aromatic_rings(surroundings: Surroundings) -> int:
    """Rings of the smallest set whose bonds are all aromatic."""
    aromatic = 0
    for number, (_, _, kind) in enumerate(surroundings.bonds):
        if kind == IN_RING + 3:
            aromatic |= 1 << number
    return sum(ring & aromatic == ring for ring in surroundings.ring_bonds)
