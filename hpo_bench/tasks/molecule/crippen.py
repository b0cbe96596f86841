"""Crippen's contributions to logP and refractivity (Wildman & Crippen 1999), looked up by what surrounds an atom.

RDKit tries 110 patterns on each molecule, and again with hydrogens added. Which pattern an atom meets depends on its
neighbours, for oxygen on their neighbours too; so RDKit is asked once for every such kind of atom. The sums are taken
in RDKit's order, in float64: they are equal bit for bit, but for surface areas, where RDKit adds up an atom's bonds in
the order of the molecule: these are equal to the rounding of float64.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpo_bench.tasks.molecule.codes import ATOM_CODES, NITROGEN, ByCode, elements
from hpo_bench.tasks.molecule.lookup import ByNeighbourhood
from hpo_bench.tasks.molecule.surroundings import IN_RING, Surroundings, row_keys

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# The bins of RDKit's SlogP_VSA and SMR_VSA descriptors.
LOGP_BINS = (-0.4, -0.2, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
REFRACTIVITY_BINS = (1.29, 1.82, 2.24, 2.45, 2.75, 3.05, 3.63, 3.80, 4.0)
_CARBON, _OXYGEN = 6, 8


class AtomType(NamedTuple):
    """Of an atom: its contributions with hydrogens added, those of each of its hydrogens, and its bins without.

    Also Labute's approximate surface area (Labute 2000), which these bins are filled with.
    """

    logp: float
    refractivity: float
    hydrogen_logp: float
    hydrogen_refractivity: float
    logp_bin: int
    refractivity_bin: int
    area: float


class _Types(dict[AtomType, int]):
    """The number of each type of atom, in the order in which they were first seen."""

    def __missing__(self, one: AtomType) -> int:
        self[one] = len(self)
        return self[one]


_types = _Types()
_coarse: dict[Any, int] = {}  # type by what Crippen's patterns ask for
_oxygens: dict[bytes, int] = {}  # type of an oxygen by its neighbourhood and those of its neighbours
_hydrogens = ByCode(lambda code: [code.hydrogens])


def crippen_descriptors(surroundings: Surroundings) -> np.ndarray:
    """CrippenClogP, CrippenMR, SlogP_VSA_ (12) and SMR_VSA_ (10) of each molecule (M, 24)."""
    molecule, count = surroundings.molecule, len(surroundings)
    numbers = _numbers(surroundings)
    types = np.array(list(_types), dtype=np.float64).reshape(-1, len(AtomType._fields))[numbers]
    hydrogens = _hydrogens(surroundings.codes).reshape(-1)
    # bincount adds in the order of its input: RDKit's atoms, then the hydrogens that it adds
    order = np.concatenate([molecule, np.repeat(molecule, hydrogens)])
    sums = [
        np.bincount(order, np.concatenate([types[:, place], np.repeat(types[:, place + 2], hydrogens)]), count)
        for place in range(2)
    ]
    binned = [
        np.bincount(molecule * bins + types[:, place].astype(np.int64), types[:, 6], count * bins).reshape(count, bins)
        for place, bins in ((4, len(LOGP_BINS) + 1), (5, len(REFRACTIVITY_BINS) + 1))
    ]
    return np.column_stack([*sums, *binned])


def _numbers(surroundings: Surroundings) -> np.ndarray:
    """The type of each atom (A,), as a number."""
    numbers = _by_neighbourhood(surroundings)[:, 0].copy()
    oxygens = np.flatnonzero(elements(surroundings.codes) == _OXYGEN)
    near, origin = surroundings.step(oxygens)
    keys = row_keys(surroundings.around[oxygens], origin, surroundings.around[surroundings.end[near]])
    for key, atom in zip(keys, oxygens.tolist(), strict=True):
        if key not in _oxygens:
            _oxygens[key] = _type(surroundings, atom)
    numbers[oxygens] = [_oxygens[key] for key in keys]
    return numbers


def _of_new(surroundings: Surroundings, atoms: np.ndarray) -> list[int]:
    oxygen = elements(surroundings.codes[atoms]) == _OXYGEN
    return [-1 if one else _type(surroundings, atom) for atom, one in zip(atoms.tolist(), oxygen, strict=True)]


_by_neighbourhood = ByNeighbourhood(1, _of_new)


def _type(surroundings: Surroundings, atom: int) -> int:
    """The type of one atom; where it is not known RDKit is asked for its whole molecule."""
    key = _coarse_key(surroundings, atom)
    if key not in _coarse:
        row = surroundings.molecule[atom]
        first, types = int(surroundings.start[row]), _ask(surroundings.molecules[row])
        _coarse.update((_coarse_key(surroundings, first + place), _types[one]) for place, one in enumerate(types))
    return _coarse[key]


def _coarse_key(surroundings: Surroundings, number: int) -> Any:
    """What the patterns see from an atom: itself and its neighbours; charges of these where it is nitrogen or oxygen.

    From an oxygen with a hydrogen, a charge or a double bond also how its carbon neighbours are bonded.
    """
    itself = ATOM_CODES[surroundings.codes[number]]
    near = surroundings.edges(number)
    seen = sorted(_seen(surroundings, kind, other) for kind, other in near)
    if itself.element not in (NITROGEN, _OXYGEN):
        return itself[:5], tuple((kind, element, aromatic) for kind, element, aromatic, _ in seen)
    if itself.element == NITROGEN:
        return itself[:5], tuple(seen)
    far = itself.hydrogens or itself.charge
    carbons = [
        (kind, ATOM_CODES[surroundings.codes[other]][:5], _bonded(surroundings, other) if far or kind else None)
        for kind, other in ((kind % IN_RING, other) for kind, other in near)
        if ATOM_CODES[surroundings.codes[other]].element == _CARBON
    ]
    return itself[:5], tuple(seen), tuple(sorted(carbons, key=repr))


def _bonded(surroundings: Surroundings, number: int) -> tuple[tuple[int, int, bool], ...]:
    return tuple(sorted(_seen(surroundings, *near)[:3] for near in surroundings.edges(number)))


def _seen(surroundings: Surroundings, kind: int, other: int) -> tuple[int, int, bool, int]:
    code = ATOM_CODES[surroundings.codes[other]]
    return kind % IN_RING, code.element, code.aromatic, code.charge


def _ask(molecule: Mol) -> list[AtomType]:
    """Types of a molecule's atoms from RDKit's own contributions, without and with hydrogens."""
    from rdkit.Chem import AddHs, rdMolDescriptors

    areas = rdMolDescriptors._CalcLabuteASAContribs(molecule)[0]
    bare = rdMolDescriptors._CalcCrippenContribs(molecule)
    whole = AddHs(molecule)
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
            area=area,
        )
        for (logp, refractivity), of_atom, of_hydrogen, area in zip(bare, full, hydrogen, areas, strict=False)
    ]
