"""What a solver is: x = (H + δI)⁻¹ b from products with H, with an account of how well it went."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from tapweight.checks import number

HVP_COST = 9.0  # forward-equivalents of a Hessian-vector product: 3 forward + 3 backward at 2 each (curvature.py)

FIRST_DAMPING = 1e-2  # in units of curvature, where a solver without damping must be given some


@dataclass
class LinearProblem:
    """The matrix of one level: curvature + diag(shift).

    Attributes:
        curvature: x (n,) ↦ ∇²loss · x (n,).
        make_shift: gives `shift` (n,), the part known in closed form: 2γ on the shared coordinates at level II, else 0.
            It is asked once at most: solvers that leave H out do without n numbers.
        parameters: the tensors behind the coordinates, in order: a solver that reads an optimiser's state needs them.
    """

    curvature: Callable[[Tensor], Tensor]
    make_shift: Callable[[], Tensor]
    parameters: Mapping[str, nn.Parameter] = field(default_factory=dict)

    @cached_property
    def shift(self) -> Tensor:
        return self.make_shift()

    @property
    def size(self) -> int:
        return int(self.shift.numel())

    def product(self, x: Tensor, damping: float = 0.0) -> Tensor:
        """(curvature + diag(shift) + damping · I) x."""
        return self.curvature(x) + (self.shift + damping) * x


@dataclass
class Report:
    """How a solve went.

    Attributes:
        converged: the residual met the tolerance; None for a solver that claims no solution (identity, Adam diagonal).
        iterations: of the solver's main loop. products: Hessian-vector products in all.
        residual: ‖b − (H + δI)x‖ / ‖b‖, None where it was not computed.
        warning: what the reader should know, None if nothing.
    """

    solver: str
    converged: bool | None
    iterations: int = 0
    products: int = 0
    residual: float | None = None
    warning: str | None = None


@dataclass
class Solution:
    """x (n,), and the report."""

    x: Tensor
    report: Report


class Solver(ABC):
    """Approximates x = H⁻¹ b. Stateless between calls, so that a resumed run repeats an uninterrupted one.

    A solver that finds H unusable raises `SolverFailure`; it returns numbers only if they are what it promises.
    """

    name: ClassVar[str]

    @abstractmethod
    def solve(self, problem: LinearProblem, rhs: Tensor) -> Solution:
        """x (n,) for the right-hand side `rhs` (n,), n = problem.size."""

    def damped(self, factor: float) -> Solver | None:
        """A copy with `factor` times the damping, `FIRST_DAMPING` where there was none; None if it knows no damping."""
        damping = getattr(self, "damping", None)
        if damping is None:
            return None
        number("factor", factor, positive=True)
        other = copy.copy(self)
        other.damping = factor * damping or FIRST_DAMPING  # type: ignore[attr-defined]
        return other

    def cost(self, size: int) -> float:
        """Most forward-equivalents per batch that a solve of dimension `size` takes (a pretraining step takes 3)."""
        return 0.0


def random_matrix(size: int, columns: int, like: Tensor) -> Tensor:
    """Fixed Gaussian numbers (size, columns), the first columns alike for every `columns`; no global generator used."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(columns, size, generator=generator, dtype=like.dtype).to(like.device).T.contiguous()
