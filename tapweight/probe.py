"""The limit γ → ∞: φ_e = θ_e, and level II trains only a linear head, which is solved exactly.

Then F depends on θ through the features alone, and one backward pass through the solve gives

    dF/dθ_e = ∂ℓ_valid/∂θ_e − ∂²ℓ_train/∂θ_e∂h (∂²ℓ_train/∂h²)⁻¹ ∂ℓ_valid/∂h,

which takes the place of u in docs/hypergradients.md: no fine-tuned copy, no proximal term, no first linear solve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapweight import heads
from tapweight.checks import group_of, inner, mean_over_ranks, no_gradient, number
from tapweight.errors import HypergradientFailure
from tapweight.evaluation import Evaluator, Layout, Passes, evaluation_mode
from tapweight.finite import require_finite
from tapweight.levels import EncoderGradient, Pretraining, TaskLevel
from tapweight.parts import trainable
from tapweight.solvers.base import Solver

Head = tuple[Tensor, Tensor]


@dataclass
class Probe(TaskLevel):
    """Levels II and III of the probe limit: `hypergradient(pretraining, Probe(...), weights, ...)`.

    The head is solved on all train batches together, and the encoder's graph over train and valid batches is held in
    memory at once: one forward and one backward pass over each.

    Attributes:
        embed: `embed(pretraining.module, batch)` gives features (B, D), in eval mode.
        labels: `labels(batch)` gives targets (B, L); NaN marks a missing one.
        head: "ridge": squared error (targets of any scale); "logistic": targets 0 or 1, each of the L on its own.
        strength: the head's penalty strength · ‖w‖² added to the mean loss, biases free; positive.
    """

    embed: Callable[[nn.Module, Any], Tensor]
    labels: Callable[[Any], Tensor]
    head: Literal["ridge", "logistic"] = "ridge"
    strength: float = 1e-2

    def __post_init__(self) -> None:
        if self.head not in ("ridge", "logistic"):
            raise ValueError(f"unknown head {self.head!r}: ridge or logistic")
        number("strength", self.strength, positive=True)

    def modules(self) -> tuple[nn.Module, ...]:
        return ()

    @staticmethod
    def cost(solver: Solver | None, size: int) -> tuple[float, float]:
        return 3.0, 3.0

    def encoder_gradient(
        self,
        pretraining: Pretraining,
        train_batches: Sequence[Any],
        valid_batches: Sequence[Any],
        *,
        solver: Solver | None,
        seed: int,
        passes: Passes,
    ) -> EncoderGradient:
        """dF/dθ by one backward pass through the solve of the head."""
        if solver is not None:
            raise ValueError("the head of a probe is solved exactly: leave finetune_solver out")
        module = inner(pretraining.module)
        theta = trainable(module)
        leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
        sets = []
        with evaluation_mode(module):
            for level, batches in (("train", train_batches), ("valid", valid_batches)):
                evaluate = Evaluator(module, self.embed, batches, level=level, passes=passes, seed=seed)
                features = torch.cat([evaluate(leaves, j) for j in range(len(batches))])
                labels = _beside(torch.cat([self.labels(batch) for batch in batches]), features)
                self._check(level, features, labels)
                sets.append((features, labels))
                passes.add(level, forward=len(batches), backward=len(batches))
        (train_features, train_labels), (valid_features, valid_labels) = sets
        loss = self.loss(self.solve(train_features, train_labels), valid_features, valid_labels)
        if not loss.requires_grad:
            raise HypergradientFailure(no_gradient("the validation loss of the probe", "the encoder"))
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        u = Layout(theta).flatten(gradients)
        both = mean_over_ranks(torch.cat([u, loss.detach().to(u)[None]]), group_of(pretraining.module))
        require_finite("the validation loss of the probe or its gradient", both)
        return EncoderGradient(both[:-1], float(both[-1]), {})

    def _check(self, level: str, features: Tensor, labels: Tensor) -> None:
        """Raise ValueError for what broadcasts, or has a loss, and is no table of features and labels."""
        if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels):
            raise ValueError(
                f"{level}: embed gave {tuple(features.shape)} and labels {tuple(labels.shape)}, expected (B, D) and "
                "(B, L): labels[:, None] for one label a row"
            )
        if self.head == "logistic" and not bool(((labels == 0) | (labels == 1) | labels.isnan()).all()):
            raise ValueError(
                f"{level}: labels of a logistic head must be 0, 1 or NaN, a column for each of several classes"
            )

    def solve(self, features: Tensor, labels: Tensor) -> Head:
        """The optimal head on features (N, D), labels (N, L): weight (L, D), bias (L,), differentiable in features."""
        return {"ridge": ridge_head, "logistic": logistic_head}[self.head](features, labels, self.strength)

    def loss(self, head: Head, features: Tensor, labels: Tensor) -> Tensor:
        """Mean over the labels present: squared error, or binary cross-entropy."""
        outputs, present = features @ head[0].T + head[1], ~labels.isnan()
        target = labels.nan_to_num()
        each = (
            (outputs - target).square()
            if self.head == "ridge"
            else F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
        )
        return (each * present).sum() / present.sum()


def ridge_head(features: Tensor, labels: Tensor, strength: float) -> Head:
    """argmin over (w, b) of mean squared error + strength · ‖w‖², one problem per label, in closed form.

    features (N, D), labels (N, L) with NaN where missing; weight (L, D), bias (L,). Differentiable.

    Raises:
        HypergradientFailure: a label that no row has.
    """
    rows, penalty = _design(features, labels)
    return _split(heads.squares(rows, labels, strength * penalty), features)


def logistic_head(features: Tensor, labels: Tensor, strength: float, *, iterations: int = 100) -> Head:
    """argmin over (w, b) of mean binary cross-entropy + strength · ‖w‖², by Newton's method with step halving.

    features (N, D), labels (N, L) in {0, 1} or NaN; weight (L, D), bias (L,). The gradient is that of the implicit
    function theorem.

    Raises:
        HypergradientFailure: a label of one class only or that no row has, or Newton's method did not converge.
    """
    rows, penalty = _design(features, labels)
    ones_seen, zeros_seen = ((labels == 1).any(0), (labels == 0).any(0))
    if not bool((ones_seen & zeros_seen).all()):  # the bias, which has no penalty, would run off to infinity
        raise HypergradientFailure("a label has a single class in these train batches: use more of them")
    return _split(heads.cross_entropy(rows, labels, 2 * strength * penalty, iterations=iterations), features)


def _design(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features with a column of ones (N, D + 1), and 1 for each weight and 0 for the bias (D + 1,)."""
    if not bool((~labels.isnan()).any(0).all()):
        raise HypergradientFailure("a label has no value at all in these train batches: use more of them")
    rows = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    return rows, torch.cat([features.new_ones(features.shape[1]), features.new_zeros(1)])


def _split(solution: Tensor, features: Tensor) -> Head:
    solution = solution.to(features.dtype)
    return solution[:, :-1], solution[:, -1]


def _beside(labels: Tensor, features: Tensor) -> Tensor:
    """Labels as numbers on the features' device, never in fewer digits than they came with."""
    return labels.to(features.device, torch.promote_types(labels.dtype, features.dtype))
