"""Objective weights over the course of one continued pretraining."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from hpo_bench.errors import UserError


def one_per_objective(weights: object, size: int | None = None, giver: str = "") -> np.ndarray:
    """`weights` as a float64 array (K,); `giver` is who is told of in an error.

    Raises:
        UserError: they are no numbers, or not as many as there are objectives.
    """
    told = f"the weights that {giver} gave" if giver else "weights"
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{told} are no numbers: {weights!r:.80}", "give one number per objective") from error
    if array.ndim != 1 or (size is not None and len(array) != size):
        fit = f"do not fit {size} objectives" if size is not None else "are no list of numbers"
        raise UserError(f"{told} have the shape {array.shape} and {fit}", "give one number per objective")
    return array


def on_simplex(weights: object, size: int | None = None, giver: str = "") -> np.ndarray:
    """`weights` as a float64 array (K,), exactly normalised.

    Raises:
        UserError: as `one_per_objective`; a negative or non-finite entry, or a sum that is not 1.
    """
    array = one_per_objective(weights, size, giver)
    if not np.isfinite(array).all() or (array < 0).any() or abs(array.sum() - 1) > 1e-6:
        told = f"the weights {array.tolist()}{f' that {giver} gave' if giver else ''} are not on the simplex"
        raise UserError(told, "give non-negative numbers that sum to 1")
    return array / array.sum()


@dataclass(frozen=True)
class WeightSchedule:
    """Piecewise constant weights: `pieces[j] = (first step, weights (K,))`, the first of them from step 0.

    One piece of zeros says that there is no continued pretraining (`nothing`).
    """

    pieces: tuple[tuple[int, tuple[float, ...]], ...]

    @classmethod
    def constant(cls, weights: object) -> WeightSchedule:
        return cls(((0, tuple(on_simplex(weights).tolist())),))

    @classmethod
    def nothing(cls, size: int) -> WeightSchedule:
        """No continued pretraining: the weights (K,) of `size` objectives are zero and no step is made."""
        return cls(((0, (0.0,) * size),))

    @property
    def pretrains(self) -> bool:
        """False for `nothing`."""
        return len(self.pieces) > 1 or any(self.pieces[0][1])

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.pieces]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"a schedule starts at step 0 and its steps rise, not {starts}")
        for _, weights in self.pieces if self.pretrains else ():
            on_simplex(weights, len(self.pieces[0][1]))

    def at(self, step: int) -> np.ndarray:
        """The weights (K,) in force at `step`."""
        return np.asarray(self.pieces[bisect_right(self.pieces, step, key=lambda piece: piece[0]) - 1][1])

    def mean(self, start: int, stop: int) -> np.ndarray:
        """The mean weights (K,) of the steps start, …, stop − 1; those of the last step where there are none."""
        ends = [first for first, _ in self.pieces[1:]] + [stop]
        lengths = [
            max(0, min(end, stop) - max(first, start)) for (first, _), end in zip(self.pieces, ends, strict=True)
        ]
        if not any(lengths):
            return self.final
        return on_simplex(np.average([weights for _, weights in self.pieces], axis=0, weights=lengths))

    @property
    def final(self) -> np.ndarray:
        """The last weights (K,)."""
        return np.asarray(self.pieces[-1][1])

    def to_json(self) -> list[list[object]]:
        return [[start, list(weights)] for start, weights in self.pieces]

    @classmethod
    def from_json(cls, data: list) -> WeightSchedule:
        return cls(tuple((int(start), tuple(float(w) for w in weights)) for start, weights in data))
