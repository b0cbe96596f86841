"""H⁻¹ b by a low-rank approximation of H."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.checks import number, whole
from tapweight.errors import SolverFailure
from tapweight.solvers.base import HVP_COST, LinearProblem, Report, Solution, Solver, random_matrix


class Nystrom(Solver):
    """(C + D)⁻¹ b with C a rank-k approximation of the curvature, D = diag(shift) + δI, by Woodbury's formula.

    The proximal term's 2γ is known exactly and stays in D; only the loss's curvature is sketched, from a Gaussian
    sketch (Frangella, Tropp, Udell 2021, algorithm 2.1), which unlike the sampled columns of Hataya and Yamada,
    "Nyström Method for Accurate and Scalable Implicit Differentiation" (AISTATS 2023), does not hit coordinates
    without curvature. Costs rank + 1 products (the last measures the residual), and rank × n numbers of memory.
    Negative curvature that shift and damping do not make up for: `SolverFailure`.

    Args:
        rank: k, at most n.
        damping: δ > 0, in units of curvature: the curvature assumed outside the sketch. At rank n
            the best δ is about √u times the largest curvature, u the number format's spacing: below, rounding wins.
    """

    name: ClassVar[str] = "nystrom"

    def __init__(self, rank: int = 10, *, damping: float = 1e-2) -> None:
        self.rank, self.damping = whole("rank", rank, 1), number("damping", damping, positive=True)

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
        values, vectors = torch.linalg.eigh(core)
        kept = values.abs() > 10 * torch.finfo(rhs.dtype).eps * values.abs().max()
        values, vectors = values[kept], vectors[:, kept]
        signs = values.sign()
        # C = F S Fᵀ with S the signs. The loss alone may curve downwards where the shift makes up for it; then
        # Y core⁺ Yᵀ divides by eigenvalues of no meaning, and the bounded projection Q core Qᵀ takes its place.
        positive = bool((values > 0).all())
        factor = images @ (vectors / values.sqrt()) if positive else sketch @ (vectors * values.abs().sqrt())
        inverse = 1 / (problem.shift + self.damping)
        weighted = inverse[:, None] * factor
        inner = signs.diag() + factor.T @ weighted
        # Haynsworth: D + F S Fᵀ is positive definite exactly if S + Fᵀ D⁻¹ F has as many negative eigenvalues as S.
        if int((torch.linalg.eigvalsh(inner) < 0).sum()) != int((signs < 0).sum()):
            lowest = float(values.min())
            report.warning = f"curvature {lowest:.2e} in the sketch"
            raise SolverFailure(
                f"the Hessian is not positive definite: curvature {lowest:.2e} in the sketch. Raise "
                f"damping above {-lowest:.2e}, or the rank",
                report,
            )
        x = inverse * rhs - weighted @ torch.linalg.solve(inner, weighted.T @ rhs)
        report.residual = float((rhs - problem.product(x, self.damping)).norm()) / norm
        report.products = rank + 1
        return Solution(x, report)
