"""Linear heads that are solved, not trained: squared error in closed form, cross-entropy by Newton's method.

Each label is a problem of its own, min over h of the mean loss over the rows that have it + ½ Σ_d penalty_d h_d². The
solutions are differentiable in the rows (once): the closed form as it is, the other through one more Newton step at the
solution with its matrix held constant, whose derivative −(∂²ℓ/∂h²)⁻¹ ∂²ℓ/∂h∂rows is that of the implicit function
theorem. All is computed in float64: in float32 a head on 300 features is off by per cents, and so is its derivative.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tapweight.errors import HypergradientFailure

_SHORTEST = 1e-4  # a halved step below this cannot be told from rounding
_SLACK = 1e-6  # of the objective's value, which rounding may add to it


def squares(rows: Tensor, labels: Tensor, penalty: Tensor) -> Tensor:
    """Heads (L, P) of least mean ½ (x·h − y)², for rows (N, P), labels (N, L; NaN = missing), penalty (P,)."""
    return torch.stack(
        [
            torch.linalg.solve(
                own.T @ own / max(len(own), 1) + penalty.to(own).diag(), own.T @ known / max(len(own), 1)
            )
            for own, known in _each(rows, labels)
        ]
    )


def cross_entropy(rows: Tensor, labels: Tensor, penalty: Tensor, *, iterations: int = 100) -> Tensor:
    """Heads (L, P) of least mean binary cross-entropy, for rows (N, P), labels (N, L) of 0, 1 or NaN, penalty (P,).

    Raises:
        HypergradientFailure: Newton's method did not converge: the penalty is too weak for these rows.
    """
    return torch.stack([_newton(own, known, penalty.to(own), iterations) for own, known in _each(rows, labels)])


def _each(rows: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows that have a label, and the label, one label after the other."""
    rows = rows if rows.device.type == "mps" else rows.double()  # Apple's GPUs have no float64
    for label in labels.T.to(rows):
        known = ~label.isnan()
        yield (rows, label) if bool(known.all()) else (rows[known], label[known])


def _newton(rows: Tensor, label: Tensor, penalty: Tensor, iterations: int) -> Tensor:
    count = max(len(rows), 1)

    def value(head: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(rows @ head, label, reduction="sum") / count
        return loss + (penalty * head * head).sum() / 2

    def direction(head: Tensor) -> Tensor:
        """The Newton step, with a path to the rows through the gradient alone."""
        probability = torch.sigmoid(rows @ head)
        gradient = rows.T @ (probability - label) / count + penalty * head
        with torch.no_grad():
            curvature = rows.T @ ((probability * (1 - probability))[:, None] * rows) / count + penalty.diag()
        step: Tensor = torch.linalg.solve(curvature, gradient)
        return step

    with torch.no_grad():
        head = torch.zeros_like(penalty)
        near = (10 * torch.finfo(rows.dtype).eps) ** 0.5  # what is left is squared by the step that follows
        for _ in range(iterations):
            step, before, length = direction(head), value(head), 1.0
            while length > _SHORTEST and not bool(value(head - length * step) <= before + _SLACK * before.abs()):
                length /= 2
            head = head - length * step
            if length == 1 and float(step.norm()) <= near * (1 + float(head.norm())):
                break
        else:
            raise HypergradientFailure(f"the logistic head did not converge in {iterations} steps: penalise it more")
    return head - direction(head)
