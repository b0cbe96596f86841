"""Weightings from the Gramian of the objectives' gradients, through `torchjd.aggregation`: no validation signal.

Each look takes K backward passes. The weights of a step come from that step's own gradients on the shared encoder.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hpo_bench.core.rng import seeded
from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State

Weighting = Callable[[Tensor], Tensor]


@dataclass
class GramianWeighted(OnlineSearch):
    """Weights (K,) from ⟨∇ℓ_i, ∇ℓ_j⟩ (K, K)."""

    needs: ClassVar[tuple[Need, ...]] = ("gradients",)

    @abstractmethod
    def make(self, size: int) -> Weighting:
        """The weighting of torchjd for K = `size` objectives."""

    def begin(self, run: OnlineRun) -> State:
        self._weighting = self.make(run.problem.num_objectives)
        return {}

    def weigh(self, state: State, look: Look) -> Tensor:
        with seeded(look.problem.seed, "gramian", look.number):  # PCGrad draws an order
            return self._weighting(look.gramian.cpu().double())


@dataclass
class Mgda(GramianWeighted):
    """The shortest convex combination of the gradients, by Frank and Wolfe.

    Désidéri, "Multiple-gradient descent algorithm (MGDA)", 2012; Sener, Koltun, NeurIPS 2018, arXiv 1810.04650.
    """

    name: ClassVar[str] = "mgda"
    summary: ClassVar[str] = "shortest combination of gradients (MGDA, Désidéri 2012, torchjd)"

    def make(self, size: int) -> Weighting:
        from torchjd.aggregation import MGDAWeighting

        return MGDAWeighting()


@dataclass
class PcGrad(GramianWeighted):
    """Each gradient less its part against the others, in an order drawn by lot.

    Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv 2001.06782.
    """

    name: ClassVar[str] = "pcgrad"
    summary: ClassVar[str] = "conflicting parts projected away (PCGrad, Yu et al. 2020, torchjd)"

    def make(self, size: int) -> Weighting:
        from torchjd.aggregation import PCGradWeighting

        return PCGradWeighting()


@dataclass
class CaGrad(GramianWeighted):
    """The step within c‖g₀‖ of the mean gradient g₀ that helps the worst-off objective most.

    Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, arXiv 2110.14048.

    Attributes:
        radius: c.
    """

    name: ClassVar[str] = "cagrad"
    summary: ClassVar[str] = "near the mean gradient, best for the worst (CAGrad, Liu et al. 2021, torchjd)"

    radius: float = 0.5

    def make(self, size: int) -> Weighting:
        from torchjd.aggregation import CAGradWeighting

        return CAGradWeighting(c=self.radius)


@dataclass
class UpGrad(GramianWeighted):
    """The mean of the gradients, each projected onto the cone of steps that harm no objective.

    Quinton, Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, arXiv 2406.16232.
    """

    name: ClassVar[str] = "upgrad"
    summary: ClassVar[str] = "gradients projected to harm nobody (UPGrad, Quinton and Rey 2024, torchjd)"

    def make(self, size: int) -> Weighting:
        from torchjd.aggregation import UPGradWeighting

        return UPGradWeighting()


@dataclass
class NashMtl(GramianWeighted):
    """The bargaining solution: G w = 1 / w, element by element.

    Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, arXiv 2202.01017.
    """

    name: ClassVar[str] = "nash_mtl"
    summary: ClassVar[str] = "bargaining solution of the gradients (Nash-MTL, Navon et al. 2022, torchjd)"

    every: int = 10  # a solution takes a tenth of a second

    def make(self, size: int) -> Weighting:
        from torchjd.aggregation import NashMTL

        weighting: Any = NashMTL(size, max_norm=0.0).weighting

        def weigh(gramian: Tensor) -> Tensor:
            # It takes a Jacobian, and forms its Gramian alone: any root of the Gramian will do.
            weighting.reset()  # each step from the same start, so that a resumed run is an unbroken one
            values, vectors = torch.linalg.eigh(gramian)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # cvxpy: "not DPP", each problem is compiled anew
                return weighting(vectors * values.clamp(min=0).sqrt())

        return weigh
