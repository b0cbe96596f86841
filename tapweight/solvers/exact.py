"""H⁻¹ b with H written out."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tapweight.checks import number, whole
from tapweight.errors import SolverFailure
from tapweight.solvers.base import HVP_COST, LinearProblem, Report, Solution, Solver


class Exact(Solver):
    """Dense Hessian by n products, Cholesky factorisation: the reference for small models. Costs n products.

    Raises `SolverFailure` where H + δI is not positive definite: the parameters are then no strict minimum of their
    level, and the implicit function theorem says nothing about how a minimum moves.

    Args:
        damping: δ added to the diagonal, in units of curvature.
        largest: refuse dimensions above this (n² numbers of memory).
    """

    name: ClassVar[str] = "exact"

    largest: int = 5000  # the matrix then takes 200 MB in float64

    def __init__(self, *, damping: float = 0.0, largest: int = largest) -> None:
        self.damping, self.largest = number("damping", damping), whole("largest", largest, 1)

    def cost(self, size: int) -> float:
        return HVP_COST * size

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        if problem.size > self.largest:
            raise ValueError(
                f"the exact solver would write out {problem.size} × {problem.size} numbers, above its "
                f"limit of {self.largest}: use ConjugateGradient or Nystrom, or raise `largest`"
            )
        report = Report(self.name, converged=True, iterations=problem.size, products=problem.size)
        basis = torch.eye(problem.size, dtype=rhs.dtype, device=rhs.device)
        matrix = torch.stack([problem.product(column, self.damping) for column in basis])
        matrix = (matrix + matrix.T) / 2
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            lowest = float(torch.linalg.eigvalsh(matrix)[0])
            report.converged, report.warning = False, f"lowest eigenvalue {lowest:.2e}"
            raise SolverFailure(
                f"the Hessian is not positive definite: lowest eigenvalue {lowest:.2e}. Raise damping "
                f"above {self.damping - lowest:.2e}, or train this level to its minimum",
                report,
            )
        x = torch.cholesky_solve(rhs[:, None], factor)[:, 0]
        norm = float(rhs.norm())
        report.residual = float((rhs - matrix @ x).norm()) / norm if norm > 0 else 0.0
        return Solution(x, report)
