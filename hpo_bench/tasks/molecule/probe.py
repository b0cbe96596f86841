"""Linear heads on frozen features, solved to convergence in float64.

Both problems are strictly convex: mean loss over the labels present + PENALTY/2 ‖w‖² on standardised features. The
solutions are differentiable in the features (once): the closed form as it is, the logistic head through one Newton step
at the solution, whose derivative is the one of the implicit function theorem.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PENALTY = 1e-2  # per training row, on standardised features; one value for every task, never tuned on valid
_BIAS_PENALTY = 1e-6  # keeps the bias finite where a label has one class only
_ROUNDINGS = 8  # units of the last place that a constant column may vary by
_NEWTON_STEPS = 100
_TOLERANCE = 1e-10


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
    """Weight (L, D) and bias (L,) that minimise, for each column of labels (N, L; NaN = missing),

    mean (x·w + b − y)² / 2 + penalty/2 ‖w‖², x standardised features (N, D) and y the labels over their deviation.
    """
    y_mean, y_std = standardiser(labels.double())
    targets = (labels.double() - y_mean) / y_std
    design, mean, std = design_matrix(features)
    columns = []
    for target in targets.T:
        rows = design[~target.isnan()]
        known = target[~target.isnan()]
        count = max(len(rows), 1)
        columns.append(torch.linalg.solve(rows.T @ rows / count + _penalties(design, penalty), rows.T @ known / count))
    solution = torch.stack(columns) * y_std[:, None]
    weight, bias = on_raw_features(solution, mean, std)
    return weight.to(features.dtype), (bias + y_mean).to(features.dtype)


def logistic(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Weight (L, D) and bias (L,) that minimise, for each column of labels (N, L) in {0, 1} or NaN,

    mean binary cross-entropy + penalty/2 ‖w‖² on standardised features (N, D), by Newton's method with halving.
    """
    design, mean, std = design_matrix(features)
    solution = torch.stack([_newton(design, target.double(), _penalties(design, penalty)) for target in labels.T])
    weight, bias = on_raw_features(solution, mean, std)
    return weight.to(features.dtype), bias.to(features.dtype)


def _newton(design: Tensor, target: Tensor, penalties: Tensor) -> Tensor:
    rows, known = design[~target.isnan()], target[~target.isnan()]
    count = max(len(rows), 1)

    def value(w: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(rows @ w, known, reduction="sum") / count + w @ penalties @ w / 2

    def step(w: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (with a path to the features) and Hessian (without)."""
        probability = torch.sigmoid(rows @ w)
        gradient = rows.T @ (probability - known) / count + penalties @ w
        curvature = (probability * (1 - probability)).detach()[:, None]
        return gradient, (rows.T @ (curvature * rows)).detach() / count + penalties

    with torch.no_grad():
        w = torch.zeros(design.shape[1], dtype=torch.float64, device=design.device)
        for _ in range(_NEWTON_STEPS):
            gradient, hessian = step(w)
            if gradient.abs().max() < _TOLERANCE:
                break
            direction, size, before = torch.linalg.solve(hessian, gradient), 1.0, value(w)
            while value(w - size * direction) > before and size > 1e-6:
                size /= 2
            w = w - size * direction
    gradient, hessian = step(w)
    return w - torch.linalg.solve(hessian, gradient)


def design_matrix(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised features with a column of ones (N, D + 1) in float64, and the mean and deviation used."""
    wide = features.double()
    mean, std = standardiser(wide, torch.finfo(features.dtype).eps)
    return torch.cat([(wide - mean) / std, torch.ones_like(wide[:, :1])], dim=1), mean, std


def diagonal_penalty(design: Tensor, penalty: float) -> Tensor:
    """The penalty of each column of a design (D + 1,)."""
    diagonal = torch.full((design.shape[1],), penalty, dtype=torch.float64, device=design.device)
    diagonal[-1] = _BIAS_PENALTY
    return diagonal


def _penalties(design: Tensor, penalty: float) -> Tensor:
    return torch.diag(diagonal_penalty(design, penalty))


def on_raw_features(solution: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """A solution (L, D + 1) on standardised features as weight and bias on the features themselves."""
    weight = solution[:, :-1] / std
    return weight, solution[:, -1] - weight @ mean
