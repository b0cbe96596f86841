"""Tree-structured Parzen estimator, through Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpo_bench.search.base import Support
from hpo_bench.search.optuna_search import OptunaSearch

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from hpo_bench.core.problem import Problem


@dataclass
class Tpe(OptunaSearch):
    """Optuna's TPESampler: it avoids the region of a pruned or diverged trial.

    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011,
    https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization.

    Attributes:
        startup_trials: random trials before the estimator takes over (Optuna's default).
    """

    name: ClassVar[str] = "tpe"
    summary: ClassVar[str] = "Optuna's TPESampler on the simplex (Bergstra et al. 2011)"

    startup_trials: int = 10

    def supports(self, problem: Problem) -> Support:
        if self.startup_trials < 0:
            return Support.no(f"startup_trials={self.startup_trials} is below zero; give 0 or more")
        return super().supports(problem)

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        liar = self.workers > 1
        return TPESampler(n_startup_trials=self.startup_trials, seed=seed, multivariate=True, constant_liar=liar)
