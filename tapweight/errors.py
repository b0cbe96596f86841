"""What goes wrong in a hypergradient. A failed solve raises; it never returns numbers that look like an answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapweight.solvers.base import Report


class HypergradientFailure(RuntimeError):
    """No hypergradient can be given at this point. A training loop may catch it and skip one weight update.

    `passes` counts the passes that were made in vain, as `Hypergradient.passes` does: they cost what they cost.
    """

    passes: Mapping[str, int] = MappingProxyType({})


class SolverFailure(HypergradientFailure):
    """A linear solve met a matrix that it cannot invert: an indefinite or singular Hessian, or a diverging series.

    `report` says which solver, after how many iterations, and what it saw.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def lacks_derivative(error: Exception) -> bool:
    """Is this torch's word on an operation without forward mode or second derivative, not a user's mistake?"""
    text = str(error).lower()
    marks = (
        "forward ad",
        "forward-mode",
        "forward mode",
        "jacobian-vector product",
        "jvp",
        "derivative for",
        "zerotensors",
        "marked with @once_differentiable",
        "double backwards",  # what torch.compile and fused kernels say
        "double backward",
        "does not currently support",
        "checkpoint",  # non-reentrant checkpointing looks for the tensors of its first pass
    )
    return isinstance(error, NotImplementedError) or any(mark in text for mark in marks)
