"""Random search on the simplex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.core.rng import derive_seed
from hpo_bench.search.trials import TrialSearch


@dataclass
class Random(TrialSearch):
    """Uniform draws from the simplex, Dirichlet(1, …, 1).

    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13 (2012),
    https://www.jmlr.org/papers/v13/bergstra12a.html. Trial n's weights depend on (seed, n) alone, so a larger budget
    goes on where a smaller one ended.
    """

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "uniform draws from the simplex (Bergstra and Bengio 2012)"

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        return draw_simplex(problem.num_objectives, problem.seed, "random", number)


def draw_simplex(size: int, seed: int, *names: str | int) -> np.ndarray:
    """One uniform draw from the simplex (size,), the same for the same seed and names."""
    return np.random.default_rng(derive_seed(seed, *names)).dirichlet(np.ones(size))
