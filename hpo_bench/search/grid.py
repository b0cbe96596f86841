"""Grid search on a lattice of the simplex."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, count, islice
from math import comb
from typing import Any, ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.core.rng import derive_seed
from hpo_bench.search.base import Support
from hpo_bench.search.trials import TrialSearch

_MOST_POINTS = 5_000  # a lattice with more is not enumerated
_UNKNOWN = 10**6  # "affordable" trials of a budget that limits seconds alone


@dataclass
class Grid(TrialSearch):
    """The {K, m} simplex lattice: all weights that are multiples of 1/m, and the centre.

    Scheffé, "Experiments with Mixtures", J. R. Stat. Soc. B 20 (1958), https://www.jstor.org/stable/2983895. The
    resolution m is the finest whose whole lattice the budget pays for. The centre is visited first, then the vertices,
    then the rest of the lattice. Trials that remain are spent on points of the next finer lattice, each as far as
    possible from those already visited (ties: an order drawn from the seed), so the method uses its budget as every
    other does; each record's note says which lattice its point belongs to. A budget of seconds alone does not say how
    many trials it pays for: lattices of resolution 1, 2, … are then visited one after the other until time is up.

    Attributes:
        resolution: m; 0 takes the finest that the budget pays for. A given m ends with its last point.
    """

    name: ClassVar[str] = "grid"
    summary: ClassVar[str] = "lattice on the simplex, resolution from the budget (Scheffé 1958)"

    resolution: int = 0

    def supports(self, problem: Problem) -> Support:
        size = problem.num_objectives
        needed = visits(size, max(self.resolution, 1))
        paid = problem.budget.affordable_trials(problem.trial_cost)
        if self.resolution < 0 or needed > _MOST_POINTS:
            return Support.no(f"a lattice of resolution {self.resolution} cannot be visited; give a smaller one, or 0")
        if paid < needed:
            what = f"the lattice of resolution {self.resolution}" if self.resolution else f"the {size} vertices"
            return Support.no(
                f"{what} and the centre need {needed} trials and the budget pays for {paid}; give --budget {needed}"
            )
        return super().supports(problem)

    def planned_trials(self, problem: Problem) -> int:
        return len(self._plan(problem))

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        return self._plan(problem)[number][0]

    def note(self, problem: Problem, number: int) -> dict[str, Any]:
        return {"resolution": self._plan(problem)[number][1]}

    def _plan(self, problem: Problem) -> tuple[tuple[np.ndarray, int], ...]:
        paid = problem.budget.affordable_trials(problem.trial_cost)
        return _plan(problem.num_objectives, min(paid, _UNKNOWN), self.resolution, problem.seed)


@lru_cache(maxsize=4)
def _plan(size: int, paid: int, resolution: int, seed: int) -> tuple[tuple[np.ndarray, int], ...]:
    """All points to visit in order, each with the resolution of its lattice."""
    if resolution:
        resolutions: Iterable[int] = (resolution,)
    elif paid >= _UNKNOWN:  # a budget of seconds alone
        resolutions = count(1)
    else:
        finest = finest_resolution(size, paid)
        resolutions = (finest, finest + 1)
    return tuple(islice(_visit(size, resolutions, seed), min(paid, _MOST_POINTS)))


def visits(size: int, resolution: int) -> int:
    """Points of the {size, resolution} lattice and the centre: C(m+K−1, K−1), and one more unless K divides m."""
    return comb(resolution + size - 1, size - 1) + (resolution % size != 0)


def finest_resolution(size: int, trials: int) -> int:
    """The largest m ≥ 1 whose lattice and the centre take at most `trials` trials."""
    resolution = 1
    while size > 1 and visits(size, resolution + 1) <= min(trials, _MOST_POINTS):
        resolution += 1
    return resolution


def lattice(size: int, resolution: int) -> np.ndarray:
    """Integer points (N, size) with entries ≥ 0 that sum to `resolution`, in lexicographic order."""
    places = list(combinations(range(resolution + size - 1), size - 1))
    bars = np.array(places, dtype=int).reshape(len(places), size - 1)
    edges = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), resolution + size - 1)])
    return np.diff(edges, axis=1) - 1


def _visit(size: int, resolutions: Iterable[int], seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """The centre and the vertices, then lattice after lattice without what was visited before."""
    centre = np.full((1, size), 1 / size)
    seen = centre if size == 1 else np.vstack([centre, np.eye(size)])
    for order, resolution in enumerate(resolutions):
        if order == 0:
            yield from ((point, resolution) for point in seen)
        points = lattice(size, resolution) / resolution
        distance = np.min(np.linalg.norm(points[:, None] - seen[None], axis=2), axis=1)
        tie = np.random.default_rng(derive_seed(seed, "grid", resolution)).permutation(len(points))
        for _ in range(len(points)):
            # Farthest from all visited points; the drawn order decides between equals.
            best = int(np.lexsort((tie, -np.round(distance, 9)))[0])
            if distance[best] < 1e-9:
                break
            seen = np.vstack([seen, points[best]])
            distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
            yield points[best], resolution
        if size == 1:
            break
