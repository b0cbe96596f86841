"""Tables of what an atom's neighbourhood decides, worked out when one is first seen by this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpo_bench.tasks.molecule.surroundings import Surroundings


class ByNeighbourhood:
    """Rows of `width` whole numbers that an atom's neighbourhood decides.

    `work(surroundings, atoms)` gives those of some atoms (n,), as (n, width).
    """

    def __init__(self, width: int, work: Callable[[Surroundings, np.ndarray], Any]) -> None:
        self._work = work
        self._table = np.zeros((0, width), np.int64)
        self._known = np.zeros(0, bool)

    def __call__(self, surroundings: Surroundings) -> np.ndarray:
        """The rows (A, width) of all atoms."""
        numbers, examples = surroundings.examples
        lacking = len(numbers) and int(numbers[-1]) + 1 - len(self._known)
        if lacking > 0:
            room = lacking + len(self._known)  # twice as many: growing is rare
            self._known = np.concatenate([self._known, np.zeros(room, bool)])
            self._table = np.concatenate([self._table, np.zeros((room, self._table.shape[1]), np.int64)])
        new = ~self._known[numbers]
        if new.any():
            rows = np.asarray(self._work(surroundings, examples[new]), dtype=np.int64)
            self._table[numbers[new]] = rows.reshape(-1, self._table.shape[1])
            self._known[numbers[new]] = True
        return self._table[surroundings.around]
