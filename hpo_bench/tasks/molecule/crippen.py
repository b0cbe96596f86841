"""Crippen's contributions to logP and refractivity (Wildman & Crippen 1999), looked up by what surrounds an atom.

RDKit tries 110 patterns on each molecule, and again with hydrogens added. Which pattern an atom meets depends on its
neighbours, for oxygen on their neighbours too; so RDKit is asked once for every such kind of atom. The sums are taken
in RDKit's order, in float64: they are equal bit for bit.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

from hpo_bench.tasks.molecule.surroundings import Surroundings

# The bins of RDKit's SlogP_VSA and SMR_VSA descriptors.
LOGP_BINS = (-0.4, -0.2, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
REFRACTIVITY_BINS = (1.29, 1.82, 2.24, 2.45, 2.75, 3.05, 3.63, 3.80, 4.0)
_OXYGEN = 8


class AtomType(NamedTuple):
    """Of an atom: its contributions with hydrogens added, those of each of its hydrogens, and its bins without."""

    logp: float
    refractivity: float
    hydrogen_logp: float
    hydrogen_refractivity: float
    logp_bin: int
    refractivity_bin: int


_KNOWN: dict[Any, AtomType] = {}


def crippen_descriptors(surroundings: Surroundings) -> list[float]:
    """CrippenClogP, CrippenMR, SlogP_VSA_ (12) and SMR_VSA_ (10) of a molecule."""
    from rdkit.Chem import rdMolDescriptors

    types = _types(surroundings)
    logp = refractivity = 0.0
    for one in types:
        logp += one.logp
        refractivity += one.refractivity
    for one, code in zip(types, surroundings.codes, strict=True):
        for _ in range(code[2]):
            logp += one.hydrogen_logp
            refractivity += one.hydrogen_refractivity
    by_logp, by_refractivity = [0.0] * (len(LOGP_BINS) + 1), [0.0] * (len(REFRACTIVITY_BINS) + 1)
    areas, _ = rdMolDescriptors._CalcLabuteASAContribs(surroundings.molecule)
    for one, area in zip(types, areas, strict=True):
        by_logp[one.logp_bin] += area
        by_refractivity[one.refractivity_bin] += area
    return [logp, refractivity, *by_logp, *by_refractivity]


def _types(surroundings: Surroundings) -> list[AtomType]:
    known, around = _KNOWN, surroundings.around
    keys: list[Any] = list(around)
    for number, code in enumerate(surroundings.codes):
        if code[0] == _OXYGEN:
            near = sorted([around[other] for _, other in surroundings.neighbours[number]])
            keys[number] = (around[number], tuple(near))
    types = [known.get(key) for key in keys]
    if None in types:
        known.update(zip(keys, _ask(surroundings), strict=True))
        return [known[key] for key in keys]
    return types  # type: ignore[return-value]


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
        AtomType(*of_atom, *of_hydrogen, bisect_right(LOGP_BINS, logp), bisect_right(REFRACTIVITY_BINS, refractivity))
        for (logp, refractivity), of_atom, of_hydrogen in zip(bare, full, hydrogen, strict=False)
    ]
