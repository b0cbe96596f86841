"""Bayesian optimisation with a Gaussian process, through Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpo_bench.search.optuna_search import OptunaSearch

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass
class Gp(OptunaSearch):
    """Optuna's GPSampler: a Matérn kernel with a length for each coordinate, expected improvement.

    Snoek, Larochelle, Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", NIPS 2012,
    arXiv 1206.2944.

    Attributes:
        startup_trials: random trials before the process takes over.
    """

    name: ClassVar[str] = "gp"
    summary: ClassVar[str] = "Optuna's GPSampler on the simplex (Snoek et al. 2012)"

    startup_trials: int = 5

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=self.startup_trials)
