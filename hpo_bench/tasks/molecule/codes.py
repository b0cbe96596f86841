"""What an atom is, apart from its neighbours, as a small interned number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from math import factorial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import Mol

NITROGEN = 7


class AtomCode(NamedTuple):
    """What an atom is, apart from its neighbours.

    `rings`: how many of the smallest set it is in. `orders`: of a nitrogen alone, twice the sum of its bonds' orders.
    """

    element: int
    charge: int
    hydrogens: int
    aromatic: bool
    degree: int
    rings: int
    orders: int


ATOM_CODES: list[AtomCode] = []  # every kind of atom seen by this process; it only grows
_numbers: dict[AtomCode, int] = {}
_known: dict[int, int] = {}  # numbers by what RDKit tells in one call, see `read_codes`


def read_codes(
    molecules: list[Mol],
    start: np.ndarray,
    *,
    aromatic: np.ndarray,
    degree: np.ndarray,
    rings: np.ndarray,
    orders: np.ndarray,
) -> np.ndarray:
    """The number of each atom (A,) in `ATOM_CODES`, which grows where one is new.

    `start` (M + 1,): first atom of each molecule; the others (A,): is an atom aromatic, its neighbours, the rings it
    is in, twice the sum of its bonds' orders. RDKit's invariants of connectivity (those of ECFP, Rogers & Hahn 2010)
    are 32 bits of element, charge, hydrogens, neighbours, isotope and being in a ring, all of a molecule in one call.
    That no two kinds of atoms share one is a test.
    """
    from rdkit.Chem.rdMolDescriptors import GetConnectivityInvariants

    invariants = list(chain.from_iterable(GetConnectivityInvariants(molecule) for molecule in molecules))
    keys = np.array(invariants, dtype=np.int64)
    # a large ring may be one of hundreds
    for values, bits in ((np.minimum(orders, 63), 6), (np.minimum(degree, 15), 4), (rings, 20), (aromatic, 1)):
        keys = keys << bits | values
    distinct, example, place = np.unique(keys, return_index=True, return_inverse=True)
    for key, atom in zip(distinct.tolist(), example.tolist(), strict=True):
        if key not in _known:
            row = int(np.searchsorted(start, atom, "right")) - 1
            found = molecules[row].GetAtomWithIdx(atom - int(start[row]))
            element = found.GetAtomicNum()
            code = AtomCode(
                element,
                found.GetFormalCharge(),
                found.GetTotalNumHs(),
                found.GetIsAromatic(),
                found.GetDegree(),
                int(rings[atom]),
                int(orders[atom]) if element == NITROGEN else 0,
            )
            if code not in _numbers:
                ATOM_CODES.append(code)
                _numbers[code] = len(ATOM_CODES) - 1
            _known[key] = _numbers[code]
    return np.array([_known[key] for key in distinct.tolist()], dtype=np.int64)[place]


class ByCode:
    """Rows of whole numbers that an atom's code decides."""

    def __init__(self, describe: Callable[[AtomCode], Sequence[int]]) -> None:
        self._describe = describe
        self._rows: list[Sequence[int]] = []
        self._table = np.zeros((0, 1), np.int64)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The rows (A, n) of `codes` (A,); n is the length of what `describe` gives."""
        if len(self._rows) < len(ATOM_CODES):
            self._rows += [self._describe(code) for code in ATOM_CODES[len(self._rows) :]]
            self._table = np.array(self._rows, dtype=np.int64)
        return self._table[codes]


_elements = ByCode(lambda code: [code.element])


def elements(codes: np.ndarray) -> np.ndarray:
    """Atomic numbers of `codes` (A,)."""
    return _elements(codes)[:, 0]


def _most_matches(code: AtomCode) -> list[int]:
    orders = factorial(min(code.degree, 7))
    return [orders * (code.element == 6), orders * (code.element != 6), 2 * code.hydrogens]


_matches = ByCode(_most_matches)


def most_matches(codes: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A bound on how often each molecule (M,) meets any one of Crippen's patterns: each order of neighbours is a match.

    A pattern is one of carbons, of other atoms or of hydrogens. `start` (M + 1,): first atom of each molecule.
    """
    return np.add.reduceat(_matches(codes), start[:-1]).max(1) if len(codes) else np.zeros(0, np.int64)
