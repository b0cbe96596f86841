"""Auto-λ: the derivative of the validation loss after one step, by a finite difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hpo_bench.search.learned import Learned
from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class AutoLambda(OnlineSearch):
    """∂F/∂λ_i = −α [ℓ_i(θ + εv) − ℓ_i(θ − εv)] / 2ε with v = ∇ℓ_valid after the step and ε = 0.01/‖v‖; Adam on λ.

    Liu, James, Davison, Johns, "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR 2022, arXiv 2202.03091.
    There a step is tried, judged and undone before the real one; here the real one is judged, and the difference is
    taken where it ended, which saves a forward and a backward pass. λ is kept at 0 or above.

    Attributes:
        lr: of Adam on λ. Theirs is 1e-4, for tens of thousands of steps.
        start: λ at the start, theirs 0.1.
    """

    name: ClassVar[str] = "auto_lambda"
    summary: ClassVar[str] = "one-step derivative of the valid loss by differences (Auto-λ, Liu et al. 2022)"
    needs: ClassVar[tuple[Need, ...]] = ("valid_gradient", "along")

    every: int = 5
    lr: float = 0.005
    start: float = 0.1

    def begin(self, run: OnlineRun) -> State:
        return {"weights": Learned(torch.full((run.problem.num_objectives,), self.start), self.lr)}

    def weigh(self, state: State, look: Look) -> Tensor:
        return state["weights"].values.clone()

    def observe(self, state: State, look: Look) -> None:
        direction = look.valid_gradient()
        length = float(direction.norm())
        if length > 0:
            slope = look.along(direction, 0.01 / length)
            state["weights"].descend(-look.problem.protocol.rate(look.number) * slope)
            state["weights"].values.clamp_(min=0)
