"""H⁻¹ b by a low-rank approximation of H."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.errors import SolverFailure
from tapweight.solvers.base import HVP_COST, LinearProblem, Report, Solution, Solver, random_matrix


class Nystrom(Solver):
    """(C + D)⁻¹ b with C a rank-k approximation of the curvature, D = diag(shift) + δI, by Woodbury's formula.

    The proximal term's 2γ is known exactly and stays in D; only the loss's curvature is sketched, from a Gaussian
    sketch (Frangella, Tropp, Udell 2021, algorithm 2.1), which unlike the sampled columns of Hataya and Yamada,
    "Nyström Method for Accurate and Scalable Implicit Differentiation" (AISTATS 2023), does not hit coordinates
    without curvature. Costs rank + 1 products (the last measures the residual), and rank × n numbers of memory.
    Negative curvature in the sketch beyond the damping: `SolverFailure`; within it: dropped, with a warning.

    Args:
        rank: k, at most n.
        damping: δ > 0, in units of curvature: the curvature assumed outside the sketch. At rank n any small δ will do.
    """

    name: ClassVar[str] = "nystrom"

    def __init__(self, rank: int = 10, *, damping: float = 1e-2) -> None:
        if rank < 1 or not damping > 0:
            raise ValueError("rank must be at least 1 and damping positive")
        self.rank, self.damping = rank, damping

    def cost(self, size: int) -> float:
        return HVP_COST * (min(self.rank, size) + 1)

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        rank = min(self.rank, problem.size)
        report = Report(self.name, converged=None, iterations=rank, products=rank)
        norm = float(rhs.norm())
        if norm == 0.0:
            return Solution(rhs.clone(), report)
        sketch = torch.linalg.qr(random_matrix(problem.size, rank, rhs)).Q
        images = torch.stack([problem.curvature(column) for column in sketch.T.contiguous()], dim=1)
        core = sketch.T @ images
        core = (core + core.T) / 2
        lowest = float(torch.linalg.eigvalsh(core)[0])
        if lowest < -self.damping:
            report.warning = f"curvature {lowest:.2e} in the sketch"
            raise SolverFailure(f"the Hessian is not positive definite: curvature {lowest:.2e}. Raise damping above "
                                f"{-lowest:.2e}", report)
        if lowest < -torch.finfo(rhs.dtype).eps ** 0.5 * float(core.diagonal().abs().max()):
            report.warning = f"negative curvature {lowest:.1e} in the sketch dropped, being within the damping"
        # C = Y core⁻¹ Yᵀ = B Bᵀ; directions of no or slightly negative curvature are dropped (pseudo-inverse).
        values, vectors = torch.linalg.eigh(core)
        kept = values > torch.finfo(rhs.dtype).eps * 10 * values[-1].clamp_min(0)
        factor = images @ (vectors[:, kept] / values[kept].sqrt())
        inverse = 1 / (problem.shift + self.damping)
        weighted = inverse[:, None] * factor
        inner = torch.eye(factor.shape[1], dtype=rhs.dtype, device=rhs.device) + factor.T @ weighted
        x = inverse * rhs - weighted @ torch.linalg.solve(inner, weighted.T @ rhs)
        report.residual = float((rhs - problem.product(x, self.damping)).norm()) / norm
        report.products = rank + 1
        return Solution(x, report)
