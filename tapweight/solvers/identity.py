"""H⁻¹ ≈ I: gradient alignment."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from tapweight.solvers.base import LinearProblem, Report, Solution, Solver


class Identity(Solver):
    """x = b. What the authors' released code computes (through Betty's `darts`), and T1–T2 truncation with one step.

    Free of cost. Exact level II is 2γ(H + 2γI)⁻¹ on shared coordinates, so this is wrong in scale by a factor of up to
    1/(2γ), and in direction by the conditioning of H.
    """

    name: ClassVar[str] = "identity"

    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        return Solution(rhs, Report(self.name, converged=None))
