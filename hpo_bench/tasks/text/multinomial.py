"""The linear head of several classes on frozen features, solved to convergence and differentiable in the features.

Minimises mean cross-entropy of the softmax + PENALTY/2 ‖w‖² on standardised features, in float64, by Newton's method
with conjugate gradients: a Hessian of L·(D + 1) rows is never written down. The derivative is that of the implicit
function theorem: a last Newton step, whose linear solve is differentiated by another solve with the same symmetric Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hpo_bench.tasks.molecule.probe import PENALTY, design_matrix, diagonal_penalty, on_raw_features

_NEWTON_STEPS, _TOLERANCE = 100, 1e-9
_CG_STEPS, _CG_TOLERANCE = 2000, 1e-10


def multinomial(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Weight (L, D) and bias (L,) for features (N, D) and labels (N, L), one of each row 1; rows of NaN are left out.

    A class that no row has gets a bias of about −10.
    """
    known = ~labels.isnan().any(1)
    design, mean, std = design_matrix(features[known])
    targets = labels[known].to(design)
    penalties = diagonal_penalty(design, penalty)
    count = max(len(targets), 1)

    def value(w: Tensor) -> Tensor:
        return -(targets * (design @ w.T).log_softmax(1)).sum() / count + (penalties * w * w).sum() / 2

    def gradient(w: Tensor) -> Tensor:
        """(L, D + 1), with a path to the features."""
        return ((design @ w.T).softmax(1) - targets).T @ design / count + penalties * w

    def curvature(w: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> H v at `w`, without a path to the features."""
        fixed = design.detach()
        p = (fixed @ w.T).softmax(1)

        def product(v: Tensor) -> Tensor:
            moved = p * (fixed @ v.T)
            return (moved - p * moved.sum(1, keepdim=True)).T @ fixed / count + penalties * v

        return product

    with torch.no_grad():
        w = design.new_zeros(labels.shape[1], design.shape[1])
        for _ in range(_NEWTON_STEPS):
            g = gradient(w)
            steepest = float(g.abs().max())
            if steepest < _TOLERANCE:
                break
            direction, size, before = _solved(curvature(w), g, min(0.1, steepest**0.5)), 1.0, value(w)
            while value(w - size * direction) > before and size > 1e-6:
                size /= 2
            w = w - size * direction
    solution = w - _Solve.apply(gradient(w), curvature(w))
    weight, bias = on_raw_features(solution, mean, std)
    return weight.to(features.dtype), bias.to(features.dtype)


class _Solve(torch.autograd.Function):
    """x with H x = g for a symmetric H, which is given by its products; differentiable in g alone."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.product = product
        return _solved(product, g, _CG_TOLERANCE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _solved(ctx.product, gradients[0], _CG_TOLERANCE), None


def _solved(product: Callable[[Tensor], Tensor], g: Tensor, tolerance: float) -> Tensor:
    """Conjugate gradients from 0 until the residual is `tolerance` of ‖g‖."""
    x, residual = torch.zeros_like(g), g.clone()
    direction, square = residual.clone(), (residual * residual).sum()
    enough = tolerance**2 * square
    for _ in range(_CG_STEPS):
        if square <= enough:
            break
        moved = product(direction)
        step = square / (direction * moved).sum()
        x = x + step * direction
        residual = residual - step * moved
        square, before = (residual * residual).sum(), square
        direction = residual + square / before * direction
    return x
