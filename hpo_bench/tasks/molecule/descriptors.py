"""RDKit's two-dimensional descriptors: the cheap and finite ones, which the regression objective predicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

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


def descriptors(molecule: Mol) -> list[float]:
    """The descriptors (103,) of one molecule in their own units, in the order of `descriptor_names`."""
    from rdkit.Chem import rdMolDescriptors

    scalars, vectors = _functions()
    values = [function(molecule) for function in scalars.values()]
    values += rdMolDescriptors.CalcCrippenDescriptors(molecule)
    for function in vectors:
        values += function(molecule)
    return values
