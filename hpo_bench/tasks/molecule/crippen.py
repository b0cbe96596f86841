"""Crippen's contributions to logP and refractivity (Wildman & Crippen 1999), looked up by what surrounds an atom.

RDKit tries 110 patterns on each molecule, and again with hydrogens added. Which pattern an atom meets depends on its
neighbours, for oxygen on their neighbours too; so RDKit is asked once for every such kind of atom. The sums are taken
in RDKit's order, in float64: they are equal bit for bit.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, IN_RING, NITROGEN, Surroundings, plain_list

# The bins of RDKit's SlogP_VSA and SMR_VSA descriptors.
LOGP_BINS = (-0.4, -0.2, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
REFRACTIVITY_BINS = (1.29, 1.82, 2.24, 2.45, 2.75, 3.05, 3.63, 3.80, 4.0)
_CARBON, _OXYGEN = 6, 8


class AtomType(NamedTuple):
    """Of an atom: its contributions with hydrogens added, those of each of its hydrogens, and its bins without."""

    logp: float
    refractivity: float
    hydrogen_logp: float
    hydrogen_refractivity: float
    logp_bin: int
    refractivity_bin: int


_KNOWN: dict[Any, AtomType] = {}  # by all that surroundings tell
_COARSE: dict[Any, AtomType] = {}  # by what Crippen's patterns ask for


def crippen_descriptors(surroundings: Surroundings) -> list[float]:
    """CrippenClogP, CrippenMR, SlogP_VSA_ (12) and SMR_VSA_ (10) of a molecule."""
    from rdkit.Chem import rdMolDescriptors

    types = _types(surroundings)
    logp = refractivity = 0.0
    for one in types:
        logp += one.logp
        refractivity += one.refractivity
    for one, code in zip(types, surroundings.codes, strict=True):
        for _ in range(ATOM_CODES[code].hydrogens):
            logp += one.hydrogen_logp
            refractivity += one.hydrogen_refractivity
    by_logp, by_refractivity = [0.0] * (len(LOGP_BINS) + 1), [0.0] * (len(REFRACTIVITY_BINS) + 1)
    areas = plain_list(rdMolDescriptors._CalcLabuteASAContribs(surroundings.molecule)[0])
    for one, area in zip(types, areas, strict=True):
        by_logp[one.logp_bin] += area
        by_refractivity[one.refractivity_bin] += area
    return [logp, refractivity, *by_logp, *by_refractivity]


def _types(surroundings: Surroundings) -> list[AtomType]:
    known, around = _KNOWN, surroundings.around
    keys: list[Any] = list(around)
    for number, code in enumerate(surroundings.codes):
        if ATOM_CODES[code].element == _OXYGEN:
            near = sorted([around[other] for _, other in surroundings.neighbours[number]])
            keys[number] = (around[number], tuple(near))
    types = [known.get(key) for key in keys]
    if None not in types:
        return types  # type: ignore[return-value]
    coarse = [_coarse_key(surroundings, number) for number in range(len(keys))]
    if not all(key in _COARSE for key in coarse):
        _COARSE.update(zip(coarse, _ask(surroundings), strict=True))
    types = [_COARSE[key] for key in coarse]
    known.update(zip(keys, types, strict=True))  # type: ignore[arg-type]
    return types  # type: ignore[return-value]


def _coarse_key(surroundings: Surroundings, number: int) -> Any:
    """What the patterns see from an atom: itself and its neighbours; charges of these where it is nitrogen or oxygen.

    From an oxygen with a hydrogen, a charge or a double bond also how its carbon neighbours are bonded.
    """
    itself = ATOM_CODES[surroundings.codes[number]]
    near = surroundings.neighbours[number]
    seen = sorted(_seen(surroundings, kind, other) for kind, other in near)
    if itself.element not in (NITROGEN, _OXYGEN):
        return itself[:5], tuple((kind, element, aromatic) for kind, element, aromatic, _ in seen)
    if itself.element == NITROGEN:
        return itself[:5], tuple(seen)
    far = itself.hydrogens or itself.charge
    carbons = [
        (kind, ATOM_CODES[surroundings.codes[other]][:5], _bonded(surroundings, other) if far or kind else None)
        for kind, other in near
        if ATOM_CODES[surroundings.codes[other]].element == _CARBON
    ]
    return itself[:5], tuple(seen), tuple(sorted(carbons, key=repr))


def _bonded(surroundings: Surroundings, number: int) -> tuple[tuple[int, int, bool], ...]:
    return tuple(sorted(_seen(surroundings, *near)[:3] for near in surroundings.neighbours[number]))


def _seen(surroundings: Surroundings, kind: int, other: int) -> tuple[int, int, bool, int]:
    code = ATOM_CODES[surroundings.codes[other]]
    return kind % IN_RING, code.element, code.aromatic, code.charge


def _ask(surroundings: Surroundings) -> list[AtomType]:
    """Types from RDKit's own contributions, without and with hydrogens."""
    from rdkit.Chem import AddHs, rdMolDescriptors

    bare = rdMolDescriptors._CalcCrippenContribs(surroundings.molecule)
    whole = AddHs(surroundings.molecule)
    full = rdMolDescriptors._CalcCrippenContribs(whole)
    hydrogen = [(0.0, 0.0)] * len(bare)
    for number in range(len(bare), len(full)):
        hydrogen[whole.GetAtomWithIdx(number).GetNeighbors()[0].GetIdx()] = full[number]
    return [
        AtomType(
            logp=of_atom[0],
            refractivity=of_atom[1],
            hydrogen_logp=of_hydrogen[0],
            hydrogen_refractivity=of_hydrogen[1],
            logp_bin=bisect_right(LOGP_BINS, logp),
            refractivity_bin=bisect_right(REFRACTIVITY_BINS, refractivity),
        )
        for (logp, refractivity), of_atom, of_hydrogen in zip(bare, full, hydrogen, strict=False)
    ]
