"""MACCS keys of a molecule whose surroundings were read: RDKit's 167 bits, most of them looked up.

Key definitions: `rdkit.Chem.MACCSkeys.smartsPatts` (SMARTS and a count to exceed). Keys 125 (more than one aromatic
ring) and 166 (more than one fragment) have no SMARTS; key 1 is never set.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hpo_bench.tasks.molecule import chains
from hpo_bench.tasks.molecule.cycles import simple_cycle, sums_of_rings
from hpo_bench.tasks.molecule.screen import PatternScreen, alternatives
from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, IN_RING, Surroundings

_CARBON_HYDROGEN = (6, 1)
_ANY_RING = {22: 3, 11: 4, 96: 5, 163: 6, 19: 7}  # key: size of a ring
_HETERO_RING = {16: 3, 8: 4, 83: 5, 98: 6}  # with an atom that is neither carbon nor hydrogen
_HETERO_SIZES = frozenset(_HETERO_RING.values())
_TWO_SIX_RINGS, _LARGE_RING, _AROMATIC_RINGS, _FRAGMENTS = 145, 101, 125, 166
_LARGE = range(8, 15)


@cache
def _screen() -> tuple[PatternScreen, list[int], list[tuple[int, int]]]:
    """The screen, the key of each of its patterns, and of its counted atoms the key and the number to exceed.

    What is found by walking (`chains`) is left out; of keys that chains or rings may meet the rings are left.
    """
    from rdkit import Chem
    from rdkit.Chem.MACCSkeys import smartsPatts

    screened: dict[int, str] = {}
    counted: dict[int, tuple[str, int]] = {}
    for key, (smarts, limit) in smartsPatts.items():
        if smarts == "?" or key in chains.ALWAYS:
            continue
        if key in chains.OR_RINGS:
            rings = [one.exact for one in alternatives(smarts) if "1" in one.exact.replace("#1", "")]
            smarts = f"[{','.join(f'$({ring})' for ring in rings)}]"
        if limit and key != _TWO_SIX_RINGS:
            counted[key] = smarts, limit
        else:
            screened[key] = smarts
    patterns = [Chem.MolFromSmarts(text) for text in screened.values()]
    screen = PatternScreen(patterns, [smarts for smarts, _ in counted.values()])
    return screen, list(screened), [(key, limit) for key, (_, limit) in counted.items()]


def maccs_bits(surroundings: Surroundings) -> bytearray:
    """MACCS keys (167,), equal to RDKit's `GetMACCSKeysFingerprint`."""
    from rdkit.Chem import GetMolFrags

    screen, keys, single = _screen()
    molecule = surroundings.molecule
    bits = bytearray(167)
    stars, numbers = screen.look(surroundings)
    for (key, limit), number in zip(single, numbers, strict=True):
        bits[key] = number > limit
    known = chains.chain_keys(surroundings)
    if (of_rings := _ring_bits(surroundings)) is not None:
        known |= of_rings
    for key, answer in known.items():
        bits[key] = answer
    there, maybe = screen.candidates(stars)
    for number in there:
        bits[keys[number]] = 1
    for number, query in maybe:
        key = keys[number]
        if key not in known and not bits[key]:
            bits[key] = molecule.HasSubstructMatch(query)
    if _TWO_SIX_RINGS not in known and bits[_TWO_SIX_RINGS]:
        bits[_TWO_SIX_RINGS] = len(molecule.GetSubstructMatches(_six_ring())) > 1
    bits[_AROMATIC_RINGS] = _aromatic_rings(surroundings) > 1
    bits[_FRAGMENTS] = len(GetMolFrags(molecule)) > 1
    return bits


@cache
def _six_ring() -> Any:
    from rdkit import Chem
    from rdkit.Chem.MACCSkeys import smartsPatts

    return Chem.MolFromSmarts(smartsPatts[_TWO_SIX_RINGS][0])


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
