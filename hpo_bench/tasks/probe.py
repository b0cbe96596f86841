"""Linear heads on frozen features, solved to convergence in float64.

All problems are convex: mean loss over the labels present + PENALTY/2 ‖w‖² on standardised features. The solutions are
differentiable in the features (once): the closed form as it is, the logistic heads through one Newton step at the
solution, whose derivative is the one of the implicit function theorem.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tapweight import heads

PENALTY = 1e-2  # per training row, on standardised features; one value for every task, never tuned on valid
_BIAS_PENALTY = 1e-6  # keeps the bias finite where a label has one class only
_NEVER = -30.0  # the logit of a class that no row has
_ROUNDINGS = 8  # units of the last place that a constant column may vary by


def standardiser(values: Tensor, rounding: float | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of columns (N, D), NaN left out; a constant or empty column gets 1 (and 0).

    A column is constant where it varies by no more than `rounding` (by default that of its type) of its own size:
    values of 1e-9, or of 1e8 and a little, vary as well as others. Squares are taken of values over the largest one, so
    that none overflows or vanishes.
    """
    rounding = torch.finfo(values.dtype).eps if rounding is None else rounding
    known = ~values.isnan()
    count = known.sum(0).clamp(min=1)
    size = torch.where(known, values, 0.0).detach().abs().amax(0)
    size = torch.where(size > 0, size, 1.0)
    scaled = torch.where(known, values, 0.0) / size
    mean = scaled.sum(0) / count
    variance = torch.where(known, scaled - mean, 0.0).pow(2).sum(0) / count
    constant = variance <= (_ROUNDINGS * rounding) ** 2
    return mean * size, torch.where(constant, 1.0, torch.where(constant, 1.0, variance).sqrt() * size)


def ridge(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Least squares: weight (L, D) and bias (L,) for each column of labels (N, L; NaN = missing).

    They minimise mean (x·w + b − y)² / 2 + penalty/2 ‖w‖², x standardised features (N, D) and y the labels over
    their deviation.
    """
    y_mean, y_std = standardiser(labels.double())
    targets = (labels.double() - y_mean) / y_std
    design, mean, std = _design(features)
    solution = heads.squares(design, targets, _penalties(design, penalty)) * y_std[:, None]
    weight, bias = _raw(solution, mean, std)
    return weight.to(features.dtype), (bias + y_mean).to(features.dtype)


def logistic(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Logistic regression: weight (L, D) and bias (L,) for each column of labels (N, L) in {0, 1} or NaN.

    They minimise mean binary cross-entropy + penalty/2 ‖w‖² on standardised features (N, D), by Newton's method
    with halving.
    """
    design, mean, std = _design(features)
    solution = heads.cross_entropy(design, labels, _penalties(design, penalty))
    weight, bias = _raw(solution, mean, std)
    return weight.to(features.dtype), bias.to(features.dtype)


def multinomial(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Softmax regression: weight (L, D) and bias (L,) for labels (N, L) with a single 1 in each row (NaN = no label).

    They minimise mean cross-entropy of the softmax + penalty/2 ‖w‖² on standardised features (N, D), by
    scikit-learn's L-BFGS and one Newton step. A class that no row has gets weight 0 and a bias that rules it out.
    """
    known = ~labels.isnan().any(1)
    design, mean, std = _design(features[known])
    targets = labels[known].double()
    seen = (targets.sum(0) > 0).nonzero().squeeze(1)
    solution = design.new_zeros(len(seen), design.shape[1])
    if len(seen) > 1:
        solution = _softmax_step(design, targets[:, seen], _lbfgs(design, targets[:, seen], penalty), penalty)
    raw_weight, raw_bias = _raw(solution, mean, std)
    weight = design.new_zeros(labels.shape[1], features.shape[1]).index_copy(0, seen, raw_weight)
    bias = design.new_full((labels.shape[1],), _NEVER).index_copy(0, seen, raw_bias)
    return weight.to(features.dtype), bias.to(features.dtype)


def _lbfgs(design: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """The solution (C, D + 1) on a design (N, D + 1) for C classes, each of which some row has."""
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=1 / (penalty * len(design)), tol=1e-8, max_iter=2000)
    solver.fit(design.detach()[:, :-1].cpu().numpy(), targets.argmax(1).cpu().numpy())
    found = torch.from_numpy(np.column_stack([solver.coef_, solver.intercept_]))
    if len(found) == 1:  # two classes: one row, of the second against the first
        found = torch.cat([-found, found]) / 2
    return found.to(design.device)


def _softmax_step(design: Tensor, targets: Tensor, solution: Tensor, penalty: float) -> Tensor:
    """A solution (C, D + 1) less one Newton step: L-BFGS stops early, and the step carries the derivative."""
    classes, width = solution.shape
    penalties = _penalties(design, penalty).diag()
    share = (design @ solution.T).softmax(1)
    gradient = (share - targets).T @ design / len(design) + solution @ penalties
    with torch.no_grad():
        curvature = torch.diag_embed(share) - share[:, :, None] * share[:, None, :]  # (N, C, C)
        hessian = design.new_zeros(classes, width, classes, width)
        for a in range(classes):
            for b in range(a + 1):
                hessian[a, :, b] = hessian[b, :, a] = design.T @ (curvature[:, a, b, None] * design) / len(design)
        hessian = hessian.view(classes * width, -1)
        hessian += torch.block_diag(*[penalties] * classes)
    return solution - torch.linalg.solve(hessian, gradient.flatten()).view(classes, width)


def _design(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised features with a column of ones (N, D + 1) in float64, and the mean and deviation used."""
    wide = features.double()
    mean, std = standardiser(wide, torch.finfo(features.dtype).eps)
    return torch.cat([(wide - mean) / std, torch.ones_like(wide[:, :1])], dim=1), mean, std


def _penalties(design: Tensor, penalty: float) -> Tensor:
    diagonal = torch.full((design.shape[1],), penalty, dtype=torch.float64, device=design.device)
    diagonal[-1] = _BIAS_PENALTY
    return diagonal


def _raw(solution: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """A solution (L, D + 1) on standardised features as weight and bias on the features themselves."""
    weight = solution[:, :-1] / std
    return weight, solution[:, -1] - weight @ mean
