from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpo_bench.core.problem import Problem
from hpo_bench.search.trials import TrialSearch


@dataclass
class Corners(TrialSearch):
    """Every objective alone."""

    name: ClassVar[str] = "corners"
    summary: ClassVar[str] = "the K vertices of the simplex"

    def planned_trials(self, problem: Problem) -> int:
        return min(problem.num_objectives, super().planned_trials(problem))

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        return np.eye(problem.num_objectives)[number]
