"""ForkMerge: branches under different weights from a common point, merged by what the validation score says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.search.base import Support
from hpo_bench.search.windows import End, Window, WindowSearch


@dataclass
class ForkMerge(WindowSearch):
    """Every window: one branch per objective and one of equal weights train from θ; θ ← Σ Λ_b θ_b.

    Jiang et al., "ForkMerge: Mitigating Negative Transfer in Auxiliary-Task Learning", NeurIPS 2023, arXiv 2301.12618.
    Branches are ranked by their validation score; the best starts with Λ = 1, and each next one gets the share of a
    grid with which the merged encoder scores best. The weights of a window are Σ Λ_b ω_b, to first order. The moments
    of the optimiser are merged like θ. There is no target objective here, so a branch is an objective alone.

    Attributes:
        branches: merged at most, the best ones.
        grid: shares above 0 that a merge tries, each for an adaptation and a score; the last is 1.
    """

    name: ClassVar[str] = "forkmerge"
    summary: ClassVar[str] = "branches from a common point, merged by valid score (ForkMerge, Jiang et al. 2023)"

    branches: int = 3
    grid: int = 5

    def supports(self, problem: Problem) -> Support:
        if min(self.branches, self.grid) < 1:
            return Support.no("branches and grid must be 1 or more")
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        tried = problem.num_objectives + 1
        scores = tried + (min(self.branches, tried) - 1) * self.grid
        return 3 * problem.protocol.steps * tried + (self.windows * scores + 1) * problem.adaptation_cost

    def close(self, window: Window) -> End:
        size, metric = window.problem.num_objectives, window.problem.metric
        ends = [window.branch(weights) for weights in (np.full(size, 1 / size), *np.eye(size))]
        best, *others = sorted(ends, key=lambda end: end.value, reverse=metric.higher_is_better)
        for other in others[: self.branches - 1]:
            kept = best
            for share in np.linspace(0, 1, self.grid + 1)[1:].tolist():
                end = window.mixed(kept, other, share)
                best = end if metric.better(end.value, best.value) else best
        return best
