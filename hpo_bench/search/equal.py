"""Equal weights: the baseline that everything else is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.search.trials import TrialSearch


@dataclass
class Equal(TrialSearch):
    """One trial at the centre of the simplex."""

    name: ClassVar[str] = "equal"
    summary: ClassVar[str] = "weight 1/K for every objective; one trial"

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ()

    def planned_trials(self, problem: Problem) -> int:
        return 1

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        return np.full(problem.num_objectives, 1 / problem.num_objectives)
