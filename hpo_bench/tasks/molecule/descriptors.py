"""RDKit's two-dimensional descriptors: the cheap and finite ones, which the regression objective predicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.tasks.molecule.codes import elements
from hpo_bench.tasks.molecule.crippen import crippen_descriptors
from hpo_bench.tasks.molecule.cycles import aromatic_rings, over_rings
from hpo_bench.tasks.molecule.mqn import quantum_numbers
from hpo_bench.tasks.molecule.surroundings import IN_RING, Surroundings

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# fmt: off
_SCALARS = (
    "ExactMolWt", "TPSA", "LabuteASA", "FractionCSP3", "HallKierAlpha", "Kappa1", "Chi0n", "Chi1n", "Chi0v", "Chi1v",
    "NumHBD", "NumLipinskiHBA", "NumLipinskiHBD", "NumAmideBonds", "NumAromaticRings", "NumAliphaticRings",
    "NumSaturatedRings", "NumHeterocycles", "NumAromaticHeterocycles", "NumAliphaticHeterocycles",
    "NumSaturatedHeterocycles", "NumSpiroAtoms", "NumBridgeheadAtoms",
)
# fmt: on
_VECTORS = {"SlogP_VSA_": 12, "SMR_VSA_": 10, "PEOE_VSA_": 14, "MQNs_": 42}
_BRIDGEHEADS = "NumBridgeheadAtoms"


@cache
def descriptor_names() -> tuple[str, ...]:
    """Names of the 103 descriptors."""
    names = [*_SCALARS, "CrippenClogP", "CrippenMR"]
    for prefix, count in _VECTORS.items():
        names += [f"{prefix}{number}" for number in range(1, count + 1)]
    return tuple(names)


@cache
def _functions() -> tuple[dict[str, Callable[[Any], float]], tuple[Callable[[Any], Any], ...]]:
    from rdkit.Chem import rdMolDescriptors

    scalars = {name: getattr(rdMolDescriptors, f"Calc{name}") for name in _SCALARS}
    return scalars, tuple(getattr(rdMolDescriptors, name) for name in _VECTORS)


def descriptors_of(molecule: Mol) -> list[float]:
    """The descriptors (103,) of one molecule in their own units, in the order of `descriptor_names`, by RDKit alone."""
    from rdkit.Chem import rdMolDescriptors

    scalars, vectors = _functions()
    values = [function(molecule) for function in scalars.values()]
    values += rdMolDescriptors.CalcCrippenDescriptors(molecule)
    for function in vectors:
        values += function(molecule)
    return values


def descriptors(surroundings: Surroundings) -> np.ndarray:
    """The same of many molecules (M, 103), much of it looked up."""
    from rdkit.Chem.rdMolDescriptors import PEOE_VSA_

    molecules, functions = surroundings.molecules, _functions()[0]
    known = _ring_counts(surroundings)
    asked = [name for name in _SCALARS if name not in known and name != _BRIDGEHEADS]
    calls = [functions[name] for name in asked]
    scalars = np.array([[call(molecule) for call in calls] for molecule in molecules], dtype=np.float64)
    known |= dict(zip(asked, scalars.reshape(len(molecules), len(asked)).T, strict=True))
    known[_BRIDGEHEADS] = _bridgeheads(surroundings, functions[_BRIDGEHEADS])
    charges = np.array([PEOE_VSA_(molecule) for molecule in molecules], dtype=np.float64)
    return np.column_stack(
        [
            *(known[name] for name in _SCALARS),
            crippen_descriptors(surroundings),
            charges.reshape(len(molecules), _VECTORS["PEOE_VSA_"]),
            quantum_numbers(surroundings),
        ]
    )


def _ring_counts(surroundings: Surroundings) -> dict[str, np.ndarray]:
    """Numbers of rings of the smallest set by kind, each (M,)."""
    aromatic = aromatic_rings(surroundings)
    saturated = over_rings(np.logical_and, surroundings.kind[surroundings.ring_bonds] == IN_RING, surroundings)
    hetero = over_rings(np.logical_or, elements(surroundings.codes)[surroundings.ring_atoms] != 6, surroundings)
    kinds = {"Aromatic": aromatic, "Aliphatic": ~aromatic, "Saturated": saturated, "": np.ones_like(hetero)}
    of_ring = surroundings.ring_molecule
    counts = {f"Num{kind}Rings": surroundings.count(of_ring[rings]) for kind, rings in kinds.items() if kind}
    for kind, rings in kinds.items():
        counts[f"Num{kind}Heterocycles"] = surroundings.count(of_ring[rings & hetero])
    return counts


def _bridgeheads(surroundings: Surroundings, count: Callable[[Any], float]) -> np.ndarray:
    """Number of bridgehead atoms of each molecule (M,): none unless two rings share two bonds."""
    order = np.argsort(surroundings.ring_bonds, kind="stable")
    bonds = surroundings.ring_bonds[order]
    rings = np.repeat(np.arange(len(surroundings.ring) - 1), np.diff(surroundings.ring))[order]
    shared = np.flatnonzero(bonds[1:] == bonds[:-1])
    pairs, times = np.unique(np.stack([rings[shared], rings[shared + 1]], axis=1), axis=0, return_counts=True)
    of_three = shared[1:][bonds[shared[1:]] == bonds[shared[:-1]]]  # rings that are not next to each other here
    numbers = np.zeros(len(surroundings), np.int64)
    asked = np.concatenate([pairs[times > 1, 0], rings[of_three]])
    for molecule in np.unique(surroundings.ring_molecule[asked]).tolist():
        numbers[molecule] = count(surroundings.molecules[molecule])
    return numbers
