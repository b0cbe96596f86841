"""H⁻¹ b ≈ η Σ_j (I − ηH)^j b."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.checks import number, whole
from tapweight.errors import SolverFailure
from tapweight.solvers.base import HVP_COST, LinearProblem, Report, Solution, Solver, random_matrix


class Neumann(Solver):
    """The truncated Neumann series: what `terms` steps of gradient descent on ½xᵀHx − bᵀx reach from zero.

    The step is η = 1/λ̂ with λ̂ the largest eigenvalue by power iteration: the series converges for η < 2/λ_max, so λ̂
    may be low by a factor of two. A residual that grows, or negative curvature along it, means that H + δI is not
    positive definite and the series diverges: `SolverFailure`. Costs power_iterations + terms products. Source:
    Lorraine, Vicol, Duvenaud, "Optimizing Millions of Hyperparameters by Implicit Differentiation", AISTATS 2020,
    algorithm 3.

    Args:
        terms: summands of the series, at least 1.
        damping: δ added to the diagonal, in units of curvature.
        step: η, if known; saves the power iteration.
        tolerance: relative residual, below 1, under which the series stops and counts as converged.
        power_iterations: products spent on λ̂, at least 1.
    """

    name: ClassVar[str] = "neumann"

    def __init__(
        self,
        terms: int = 10,
        *,
        damping: float = 0.0,
        step: float | None = None,
        tolerance: float = 1e-6,
        power_iterations: int = 10,
    ) -> None:
        self.terms, self.damping = whole("terms", terms, 1), number("damping", damping)
        self.step = None if step is None else number("step", step, positive=True)
        self.tolerance = number("tolerance", tolerance, below=1.0)
        self.power_iterations = whole("power_iterations", power_iterations, 1)

    def cost(self, size: int) -> float:
        return HVP_COST * (self.terms + (self.power_iterations if self.step is None else 0))

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        report = Report(self.name, converged=False)
        norm = float(rhs.norm())
        if norm == 0.0:
            report.converged = True
            return Solution(rhs.clone(), report)
        step = self.step if self.step is not None else 1 / self._largest_eigenvalue(problem, rhs, report)
        residual, x = rhs.clone(), torch.zeros_like(rhs)
        previous = norm
        for _ in range(self.terms):
            x.add_(residual, alpha=step)
            product = problem.product(residual, self.damping)
            report.products += 1
            report.iterations += 1
            curvature = float(residual @ product) / previous**2
            residual = residual - step * product  # the recursion's remainder is the residual b − Hx itself
            current = float(residual.norm())
            report.residual = current / norm
            # For a positive definite matrix and a stable step the residual cannot grow.
            if curvature < 0 or not current <= previous * (1 + 1e-5):
                report.warning = (
                    f"curvature {curvature:.2e} along the residual, which went from "
                    f"{previous / norm:.2e} to {current / norm:.2e}"
                )
                raise SolverFailure(
                    f"the Neumann series diverges after {report.iterations} terms: {report.warning}. "
                    f"Raise damping above {self.damping + max(-curvature, 0.0):.2e}",
                    report,
                )
            if report.residual < self.tolerance:
                report.converged = True
                break
            previous = current
        if not report.converged:
            report.warning = f"truncated after {self.terms} terms at relative residual {report.residual:.1e}"
        return Solution(x, report)

    def _largest_eigenvalue(self, problem: LinearProblem, rhs: Tensor, report: Report) -> float:
        """λ̂ of H + δI by power iteration from b plus noise, so that no eigenvector is missed."""
        noise = random_matrix(problem.size, 1, rhs)[:, 0]
        vector = rhs / rhs.norm() + noise / noise.norm()
        value = 0.0
        for _ in range(self.power_iterations):
            vector = vector / vector.norm()
            image = problem.product(vector, self.damping)
            report.products += 1
            value, vector = float(vector @ image), image
        if not value > 0:
            report.warning = f"dominant eigenvalue {value:.2e}"
            raise SolverFailure(
                f"the Hessian's dominant eigenvalue is {value:.2e}: it is not positive definite. Raise "
                f"damping above {self.damping - value:.2e}",
                report,
            )
        return value
