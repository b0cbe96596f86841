"""RegMix: a regression of the score on the weights, from trials drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.core.rng import derive_seed
from hpo_bench.records.journal import Journal, TrialRecord
from hpo_bench.search.base import Support
from hpo_bench.search.trials import TrialSearch

DRAWN, BEST = 100_000, 128  # weightings whose score is predicted; the best of them are averaged
STRENGTHS = (0.1, 5.0)  # of the Dirichlet distribution, drawn evenly on a logarithmic scale


@dataclass
class RegMix(TrialSearch):
    """Trials at Dirichlet draws, a regression through them, and a last trial at the mean of the best predictions.

    Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training", ICLR 2025, arXiv 2407.01492. There
    a boosted tree (LightGBM) fits hundreds of small proxies; tens of whole trials fit a Gaussian process better: one
    kernel length (Matérn 5/2) and noise, by maximum likelihood (scikit-learn). Draws are Dirichlet(s/K, …) with s from
    0.1 to 5. The last trial scores the answer; like every method's, the result is the best trial.
    """

    name: ClassVar[str] = "regmix"
    summary: ClassVar[str] = "a Gaussian process through random trials, best prediction tried (RegMix, Liu et al. 2025)"

    def supports(self, problem: Problem) -> Support:
        if not np.isfinite(problem.allowance):
            return Support.no("the last trial must be known beforehand: give a budget in trials or step-equivalents")
        if self.planned_trials(problem) < 4:
            return Support.no("a regression takes at least 3 trials, and one more tries its answer; give --budget 4")
        return super().supports(problem)

    def planned_trials(self, problem: Problem) -> int:
        return int(problem.allowance / problem.trial_cost + 1e-9)

    def batch(self, problem: Problem, first: int) -> int:
        """The last trial waits for all others."""
        return max(1, min(self.workers, self.planned_trials(problem) - 1 - first))

    def prepare(self, problem: Problem, journal: Journal) -> None:
        self._seen: list[TrialRecord] = []

    def observe(self, problem: Problem, record: TrialRecord) -> None:
        self._seen.append(record)

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        rng = np.random.default_rng(derive_seed(problem.seed, self.name, number))
        size = problem.num_objectives
        known = [record for record in self._seen if record.value is not None]
        if number + 1 < self.planned_trials(problem) or len(known) < 3:
            low, high = np.log(STRENGTHS)
            return rng.dirichlet(np.full(size, np.exp(rng.uniform(low, high)) / size))
        weights = np.array([record.weights for record in known])
        values = np.array([record.value for record in known], dtype=float)
        sign = 1 if problem.metric.higher_is_better else -1
        return predicted_best(weights, sign * values, rng)


def predicted_best(weights: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean of the weightings (K,) that a Gaussian process through weights (N, K) and values (N,) puts highest."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0) * Matern(0.5, (0.05, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-6, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the score is flat
        process.fit(weights, values)
    drawn = rng.dirichlet(np.ones(weights.shape[1]), DRAWN)
    best = np.argsort(-process.predict(drawn), kind="stable")[:BEST]
    mean = drawn[best].mean(axis=0)
    return mean / mean.sum()
