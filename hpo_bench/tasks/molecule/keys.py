"""MACCS keys of a molecule whose surroundings were read: RDKit's 167 bits, most of them looked up.

Key definitions: `rdkit.Chem.MACCSkeys.smartsPatts` (SMARTS and a count to exceed). Keys 125 (more than one aromatic
ring) and 166 (more than one fragment) have no SMARTS; key 1 is never set.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np

from hpo_bench.tasks.molecule import chains
from hpo_bench.tasks.molecule.codes import elements
from hpo_bench.tasks.molecule.cycles import (
    FusedRings,
    aromatic_rings,
    fused_rings,
    over_rings,
    simple_cycle,
    sums_of_rings,
)
from hpo_bench.tasks.molecule.screen import PatternScreen
from hpo_bench.tasks.molecule.smarts import alternatives
from hpo_bench.tasks.molecule.surroundings import Surroundings

_CARBON_HYDROGEN = (6, 1)
_LARGE = range(8, 15)  # one large cycle is like another
_OF_SIZE = {3: 22, 4: 11, 5: 96, 6: 163, 7: 19, **dict.fromkeys(_LARGE, 101)}  # key of each size of cycle
_HETERO_OF_SIZE = {3: 16, 4: 8, 5: 83, 6: 98}  # with an atom that is neither carbon nor hydrogen
_TWO_SIX_RINGS, _AROMATIC_RINGS, _FRAGMENTS = 145, 125, 166
_KEYS_OF_SIZE = defaultdict[int, set[int]](set, {size: {key} for size, key in _OF_SIZE.items()})
for _size, _key in [*_HETERO_OF_SIZE.items(), (6, _TWO_SIX_RINGS)]:
    _KEYS_OF_SIZE[_size].add(_key)
_OF_CYCLES = sorted(set().union(*_KEYS_OF_SIZE.values()))


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


def maccs_bits(surroundings: Surroundings) -> np.ndarray:
    """MACCS keys (M, 167) bool, equal to RDKit's `GetMACCSKeysFingerprint`."""
    screen, keys, single = _screen()
    molecules = surroundings.molecules
    bits = np.zeros((len(molecules), 167), bool)
    stars, numbers = screen.look(surroundings)
    for place, (key, limit) in enumerate(single):
        bits[:, key] = numbers[:, place] > limit
    for key, met in chains.chain_keys(surroundings).items():
        bits[:, key] = met
    listed = _by_cycles(surroundings, bits)
    decided = bits.copy()
    decided[:, _OF_CYCLES] |= listed[:, None]
    there, maybe = screen.candidates(stars, decided[:, keys])
    bits[:, keys] |= there & ~decided[:, keys]
    for row, place, query in maybe:
        key = keys[place]
        if key == _TWO_SIX_RINGS:
            bits[row, key] = len(molecules[row].GetSubstructMatches(query)) > 1
        elif not bits[row, key]:
            bits[row, key] = molecules[row].HasSubstructMatch(query)
    bits[:, _AROMATIC_RINGS] = surroundings.count(surroundings.ring_molecule[aromatic_rings(surroundings)]) > 1
    bits[:, _FRAGMENTS] = _in_parts(surroundings)
    return bits


def _by_cycles(surroundings: Surroundings, bits: np.ndarray) -> np.ndarray:
    """Set the keys that ask for cycles; which molecules (M,) have so few that all could be listed."""
    sizes, molecule = np.diff(surroundings.ring), surroundings.ring_molecule
    hetero = ~np.isin(elements(surroundings.codes), _CARBON_HYDROGEN)
    with_hetero = over_rings(np.logical_or, hetero[surroundings.ring_atoms], surroundings)
    for size, key in _OF_SIZE.items():
        bits[:, key] |= surroundings.any(molecule[sizes == size])
    for size, key in _HETERO_OF_SIZE.items():
        bits[:, key] = surroundings.any(molecule[(sizes == size) & with_hetero])
    bits[:, _TWO_SIX_RINGS] = surroundings.count(molecule[sizes == 6]) > 1
    listed = np.ones(len(bits), bool)
    is_hetero = hetero.tolist()
    for fused in fused_rings(surroundings):
        row = bits[fused.molecule]
        sums = sums_of_rings(fused.rings)
        if sums is None:
            listed[fused.molecule] = False
            row[_OF_CYCLES] = False
            continue
        found = set(np.flatnonzero(row).tolist())
        row[list(_more_cycles(fused, sums, found, is_hetero))] = True
    return listed


def _more_cycles(fused: FusedRings, sums: list[int], found: set[int], is_hetero: list[bool]) -> set[int]:
    """Keys `found` for a molecule's rings, and those that its other cycles meet."""
    six: set[frozenset[int] | None] = set()
    if _TWO_SIX_RINGS not in found:
        six |= {simple_cycle(ring, fused.ends) for ring in fused.rings if ring.bit_count() == 6}
    for total in sums:
        size = total.bit_count()
        if _KEYS_OF_SIZE[size] <= found or (atoms := simple_cycle(total, fused.ends)) is None:
            continue
        found.add(_OF_SIZE[size])
        if size in _HETERO_OF_SIZE and any(is_hetero[atom] for atom in atoms):
            found.add(_HETERO_OF_SIZE[size])
        if size == 6:
            six.add(atoms)
            if len(six) > 1:
                found.add(_TWO_SIX_RINGS)
    return found


def _in_parts(surroundings: Surroundings) -> list[bool]:
    """Which molecules are more than one part; there are at most as many as atoms - bonds + rings."""
    from rdkit.Chem import GetMolFrags

    most = surroundings.count(surroundings.molecule) - surroundings.count(surroundings.bond_molecule)
    most += surroundings.count(surroundings.ring_molecule)
    pairs = zip(most.tolist(), surroundings.molecules, strict=True)
    return [number > 1 and len(GetMolFrags(molecule)) > 1 for number, molecule in pairs]
