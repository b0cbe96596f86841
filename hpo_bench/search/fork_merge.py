"""ForkMerge: branches under different weights from a common point, merged by what the validation score says."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.search.base import Support
from hpo_bench.search.online import OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class ForkMerge(OnlineSearch):
    """Every window: one branch per objective and one of equal weights train from θ; θ ← Σ Λ_b θ_b.

    Jiang et al., "ForkMerge: Mitigating Negative Transfer in Auxiliary-Task Learning", NeurIPS 2023, arXiv 2301.12618.
    Branches are ranked by their validation score; the best starts with Λ = 1, and each next one gets the share of a
    grid with which the merged encoder scores best. The weights of a window are Σ Λ_b ω_b, to first order. The moments
    of the optimiser are merged like θ. There is no target objective here, so a branch is an objective alone.

    Attributes:
        windows: in a run.
        branches: merged at most, the best ones.
        grid: shares above 0 that a merge tries, each for an adaptation and a score; the last is 1.
    """

    name: ClassVar[str] = "forkmerge"
    summary: ClassVar[str] = "branches from a common point, merged by valid score (ForkMerge, Jiang et al. 2023)"

    windows: int = 4
    branches: int = 3
    grid: int = 5

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ("validation",)

    def supports(self, problem: Problem) -> Support:
        if not 1 <= self.windows <= problem.protocol.steps or min(self.branches, self.grid) < 1:
            return Support.no(f"windows must be 1 to {problem.protocol.steps}, branches and grid 1 or more")
        return super().supports(problem)

    def expected_cost(self, problem: Problem) -> float:
        tried = problem.num_objectives + 1
        scores = tried + (min(self.branches, tried) - 1) * self.grid
        steps = 3 * problem.protocol.steps * tried
        return steps + (self.windows * scores + 1) * problem.adaptation_cost

    def begin(self, run: OnlineRun) -> State:
        return {}

    def weigh(self, state: State, look: Look) -> Tensor:
        raise NotImplementedError("advance trains whole windows")

    def advance(self, run: OnlineRun) -> None:
        problem, trial = run.problem, run.trial
        start, steps = trial.step, problem.protocol.steps
        window = next(w for w in range(1, self.windows + 1) if round(w * steps / self.windows) > start)
        until = round(window * steps / self.windows)
        common = copy.deepcopy(trial.pretrainer.state_dict())
        size = problem.num_objectives
        weightings = [np.full(size, 1 / size), *np.eye(size)]
        ends: list[tuple[float, np.ndarray, dict[str, Any]]] = []
        for weights in weightings:
            trial.pretrainer.load_state_dict(copy.deepcopy(common))
            run.losses = trial.pretrainer.run(WeightSchedule.constant(weights), until)
            ends.append((trial.validate().value, weights, copy.deepcopy(trial.pretrainer.state_dict())))
        sign = -1 if problem.metric.higher_is_better else 1
        ends.sort(key=lambda end: sign * end[0])
        value, weights, merged = ends[0]
        for _, own, end in ends[1 : self.branches]:
            best = (value, weights, merged)
            for share in np.linspace(0, 1, self.grid + 1)[1:].tolist():
                mixed = merge(merged, end, share)
                trial.pretrainer.load_state_dict(copy.deepcopy(mixed))
                score = trial.validate().value
                if problem.metric.better(score, best[0]):
                    best = (score, (1 - share) * weights + share * own, mixed)
            value, weights, merged = best
        trial.pretrainer.load_state_dict(merged)
        run.use(torch.from_numpy(weights))
        run.record(start, losses=run.losses.tolist(), valid=value)


def merge(a: Any, b: Any, share: float) -> Any:
    """(1 − share)·a + share·b through two states of one shape; what is no floating tensor is a's."""
    if isinstance(a, dict):
        return {key: merge(value, b[key], share) for key, value in a.items()}
    if isinstance(a, list | tuple):
        return type(a)(merge(x, y, share) for x, y in zip(a, b, strict=True))
    return torch.lerp(a, b, share) if isinstance(a, Tensor) and a.is_floating_point() else a
