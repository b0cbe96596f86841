"""Covariance matrix adaptation, through Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpo_bench.search.optuna_search import OptunaSearch

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass
class CmaEs(OptunaSearch):
    """Optuna's CmaEsSampler: generations of 4 + 3 log K trials around a moving centre.

    Hansen, Ostermeier, "Completely Derandomized Self-Adaptation in Evolution Strategies", Evolutionary Computation 9,
    2001; Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772.
    """

    name: ClassVar[str] = "cmaes"
    summary: ClassVar[str] = "Optuna's CmaEsSampler on the simplex (Hansen and Ostermeier 2001)"

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
