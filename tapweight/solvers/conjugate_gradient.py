"""H⁻¹ b by conjugate gradients."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.checks import number, whole
from tapweight.errors import SolverFailure
from tapweight.solvers.base import HVP_COST, LinearProblem, Report, Solution, Solver


class ConjugateGradient(Solver):
    """Conjugate gradients on (H + δI)x = b (Hestenes and Stiefel 1952).

    Stops at the tolerance, or truncated after `iterations` with converged=False and a warning. A search direction of
    negative curvature proves H + δI indefinite, where the iterates mean nothing: `SolverFailure`, with the curvature
    seen. The residual reported is measured with one more product, not the recursion's. Costs iterations + 1 products.

    Args:
        iterations: at most.
        tolerance: relative residual at which to stop, below 1; 0 makes all iterations.
        damping: δ added to the diagonal, in units of curvature.
    """

    name: ClassVar[str] = "cg"

    def __init__(self, iterations: int = 20, *, tolerance: float = 1e-6, damping: float = 0.0) -> None:
        self.iterations, self.damping = whole("iterations", iterations, 1), number("damping", damping)
        self.tolerance = number("tolerance", tolerance, below=1.0)

    def cost(self, size: int) -> float:
        return HVP_COST * (self.iterations + 1)

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        report = Report(self.name, converged=False)
        norm = float(rhs.norm())
        if norm == 0.0:
            report.converged = True
            return Solution(rhs.clone(), report)
        x, residual = torch.zeros_like(rhs), rhs.clone()
        direction, square = residual, residual @ residual
        while report.iterations < self.iterations and float(square.sqrt()) > self.tolerance * norm:
            image = problem.product(direction, self.damping)
            report.iterations += 1
            curvature = float(direction @ image) / float(direction @ direction)
            if not curvature > 0:
                report.products, report.warning = report.iterations, f"negative curvature {curvature:.2e}"
                raise SolverFailure(
                    f"the Hessian is not positive definite: curvature {curvature:.2e} in direction "
                    f"{report.iterations} of conjugate gradients. Raise damping above "
                    f"{self.damping - curvature:.2e}, or train this level further",
                    report,
                )
            length = square / (direction @ image)
            x = x + length * direction
            residual = residual - length * image
            square, previous = residual @ residual, square
            direction = residual + (square / previous) * direction
        report.residual = float((rhs - problem.product(x, self.damping)).norm()) / norm
        report.products = report.iterations + 1
        report.converged = report.residual <= 10 * self.tolerance
        if not report.converged:
            report.warning = f"stopped after {report.iterations} iterations at relative residual {report.residual:.1e}"
        return Solution(x, report)
