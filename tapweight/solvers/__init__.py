"""Inverse-Hessian-vector products: the choice that separates methods. One file each; `by_name` for configurations."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from tapweight.solvers.adam_diagonal import AdamDiagonal
from tapweight.solvers.base import LinearProblem, Report, Solution, Solver
from tapweight.solvers.conjugate_gradient import ConjugateGradient
from tapweight.solvers.exact import Exact
from tapweight.solvers.identity import Identity
from tapweight.solvers.neumann import Neumann
from tapweight.solvers.nystrom import Nystrom

_SOLVERS: dict[str, type[Solver]] = {
    s.name: s for s in (Identity, AdamDiagonal, Neumann, ConjugateGradient, Nystrom, Exact)
}

__all__ = [
    "AdamDiagonal",
    "ConjugateGradient",
    "Exact",
    "Identity",
    "LinearProblem",
    "Neumann",
    "Nystrom",
    "Report",
    "Solution",
    "Solver",
    "by_name",
    "classes",
    "names",
]


def names() -> tuple[str, ...]:
    """Names that `by_name` knows."""
    return tuple(_SOLVERS)


def classes() -> dict[str, type[Solver]]:
    """All solvers by name."""
    return dict(_SOLVERS)


def by_name(
    name: str,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    damping: float | None = None,
    effort: int | None = None,
    **options: Any,
) -> Solver:
    """A solver from its name and its constructor's options.

    `optimizer` is the level's own, `damping` is in units of curvature, `effort` is the number of iterations, terms or
    the rank: they go to the solvers that use them and are ignored by the others, so that a caller need not know which
    they are.

    Raises:
        ValueError: unknown name, or a solver that reads its level's optimiser without one.
        TypeError: an option the solver does not have.
    """
    if name not in _SOLVERS:
        raise ValueError(f"unknown solver {name!r}; known: {', '.join(_SOLVERS)}")
    accepted = inspect.signature(_SOLVERS[name]).parameters
    if "optimizer" in accepted:
        if optimizer is None:
            raise ValueError(f"the solver {name} reads the state of its level's optimiser: give optimizer")
        options["optimizer"] = optimizer
    if "damping" in accepted and damping is not None:
        options["damping"] = damping
    if effort is not None:
        options.update({word: effort for word in ("iterations", "terms", "rank") if word in accepted})
    return _SOLVERS[name](**options)
