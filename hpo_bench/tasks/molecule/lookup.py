"""Tables of what an atom's code or neighbourhood decides, worked out when one is first seen by this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpo_bench.tasks.molecule.surroundings import ATOM_CODES, AtomCode, Surroundings


class ByCode:
    """Rows of whole numbers that an atom's code decides."""

    def __init__(self, describe: Callable[[AtomCode], Sequence[int]]) -> None:
        self._describe = describe
        self._rows: list[Sequence[int]] = []
        self._table = np.zeros((0, 0), np.int64)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The rows (A, n) of `codes` (A,); n is the length of what `describe` gives."""
        if len(self._rows) < len(ATOM_CODES):
            self._rows += [self._describe(code) for code in ATOM_CODES[len(self._rows) :]]
            self._table = np.array(self._rows, dtype=np.int64)
        return self._table[codes]


class ByNeighbourhood:
    """Rows of `width` numbers that an atom's neighbourhood decides; `work(surroundings, atom)` gives one of them."""

    def __init__(
        self, width: int, work: Callable[[Surroundings, int], Sequence[int]], dtype: type[np.generic] = np.int64
    ) -> None:
        self._work = work
        self._table = np.zeros((0, width), dtype)
        self._known = np.zeros(0, bool)

    def __call__(self, surroundings: Surroundings) -> np.ndarray:
        """The rows (A, width) of all atoms."""
        numbers, examples = surroundings.examples
        lacking = len(numbers) and int(numbers[-1]) + 1 - len(self._known)
        if lacking > 0:
            room = lacking + len(self._known)  # twice as many: growing is rare
            self._known = np.concatenate([self._known, np.zeros(room, bool)])
            more = np.zeros((room, self._table.shape[1]), self._table.dtype)
            self._table = np.concatenate([self._table, more])
        new = ~self._known[numbers]
        for number, atom in zip(numbers[new].tolist(), examples[new].tolist(), strict=True):
            self._table[number] = self._work(surroundings, atom)
            self._known[number] = True
        return self._table[surroundings.around]
