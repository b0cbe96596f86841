"""H⁻¹ ≈ diag(1 / (√v̂ + ε)) from Adam's second moment."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.errors import SolverFailure
from tapweight.solvers.base import LinearProblem, Report, Solution, Solver


class AdamDiagonal(Solver):
    """x = b / (√v̂ + ε), with v̂ the bias-corrected second moment of the level's own Adam or AdamW.

    The optimiser's steps are preconditioned by this diagonal, so a perturbation b of the gradient moves the parameters
    along x: the direction is that of one Adam step, the scale arbitrary (one over gradient units). Source: Choe et
    al., "Making Scalable Meta Learning Practical" (SAMA), NeurIPS 2023, section 3.2; their derivative of Adam's
    update has a further term in the first moment, which vanishes as β₂ → 1 and is left out here.

    Args:
        optimizer: holds the level's parameters; its state is read, never written.
    """

    name: ClassVar[str] = "adam_diagonal"

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        if not any("betas" in group for group in optimizer.param_groups):
            raise ValueError(
                f"{type(optimizer).__name__} keeps no second moment: AdamDiagonal needs torch.optim.Adam "
                "or AdamW; for SGD use Identity"
            )
        self.optimizer = optimizer

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        report = Report(self.name, converged=None)
        groups = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        parts = []
        for name, parameter in problem.parameters.items():
            group, state = groups.get(id(parameter)), self.optimizer.state.get(parameter, {})
            if group is None:
                raise ValueError(
                    f"the optimiser of AdamDiagonal does not hold parameter {name!r}: pass the optimiser of this level"
                )
            if not state:  # never had a gradient: an unused parameter, or no step yet
                parts.append(torch.zeros_like(parameter).reshape(-1))
                continue
            moment = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
            correction = 1 - group["betas"][1] ** float(state["step"])
            parts.append(1 / ((moment / correction).sqrt() + group["eps"]).reshape(-1))
        diagonal = torch.cat(parts).to(rhs)
        if not bool(diagonal.any()):
            raise SolverFailure("Adam has taken no step, so there is no second moment: warm up first", report)
        return Solution(rhs * diagonal, report)
