"""The hypergradient by differentiating through the last steps of training: no implicit function theorem, no solver.

It shares with `hypergradient` only the evaluation of losses, which makes it an independent check: on problems trained
to convergence both tend to the same vector as the number of steps grows. Memory grows with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapweight.checks import number, refuse_off_simplex, whole
from tapweight.evaluation import (
    Evaluator,
    Layout,
    Passes,
    draw_seed,
    evaluation_mode,
    untouched,
)
from tapweight.finite import require_finite
from tapweight.hypergradient import Hypergradient, losses_of
from tapweight.levels import Finetuning, Pretraining
from tapweight.parts import trainable


def unrolled_hypergradient(
    pretraining: Pretraining,
    finetuning: Finetuning,
    weights: Tensor,
    *,
    pretrain_batches: Sequence[Any],
    train_batches: Sequence[Any],
    valid_batches: Sequence[Any],
    pretrain_steps: int,
    finetune_steps: int,
    pretrain_lr: float,
    finetune_lr: float,
    seed: int | None = None,
) -> Hypergradient:
    """dF/dλ through S_I steps of gradient descent on level I and then S_II steps on level II, from the current θ and φ.

    Step s uses batch s modulo their number. Reverse mode throughout, so each operation needs a second derivative.
    Cost: 1 forward and 3 backward passes per step (Maclaurin, Duvenaud, Adams 2015; Shaban et al. 2019 for the
    truncation). Nothing is left changed, as with `hypergradient`.

    Args:
        pretrain_steps: S_I ≥ 1.
        finetune_steps: S_II ≥ 1.
        pretrain_lr: length of level I's steps, positive, stable for the curvature.
        finetune_lr: the same of level II.

    Raises:
        HypergradientFailure: a number is not finite.
        ValueError: as `hypergradient`, and for steps or rates that are out of range.
    """
    whole("pretrain_steps", pretrain_steps, 1)
    whole("finetune_steps", finetune_steps, 1)
    number("pretrain_lr", pretrain_lr, positive=True)
    number("finetune_lr", finetune_lr, positive=True)
    refuse_off_simplex(weights)
    passes = Passes()
    with untouched(pretraining.module, finetuning.module):
        first = draw_seed() if seed is None else seed
        losses = losses_of(pretraining, weights, pretrain_batches, passes, first)
        train = Evaluator(
            finetuning.module, finetuning.loss, train_batches, level="train", passes=passes, seed=first + (1 << 20)
        )
        valid = Evaluator(
            finetuning.module, finetuning.loss, valid_batches, level="valid", passes=passes, seed=first + (1 << 21)
        )
        theta = {n: p.detach().requires_grad_() for n, p in trainable(pretraining.module).items()}
        phi = {n: p.detach().requires_grad_() for n, p in trainable(finetuning.module).items()}
        Layout(theta), Layout(phi)  # the dtype and device checks
        pairs = finetuning.pairs(pretraining)
        lam = weights.detach().to(next(iter(theta.values()))).requires_grad_()

        for s in range(pretrain_steps):
            objective = (lam * losses(theta, s % len(pretrain_batches))).sum()
            theta = _descend(objective, theta, pretrain_lr)
            passes.add("pretrain", forward=1, backward=3)
        for s in range(finetune_steps):
            pull = [(phi[p.phi_name] - theta.get(p.theta_name, p.theta)).square().sum() for p in pairs]
            objective = train(phi, s % len(train_batches)) + finetuning.gamma * torch.stack(pull).sum()
            phi = _descend(objective, phi, finetune_lr)
            passes.add("train", forward=1, backward=3)
        with evaluation_mode(finetuning.module):
            total = torch.stack([share * valid(phi, j) for j, share in enumerate(valid.shares)]).sum()
        passes.add("valid", forward=len(valid_batches), backward=len(valid_batches))
        (gradient,) = torch.autograd.grad(total, lam)
    require_finite("the unrolled hypergradient", gradient)
    return Hypergradient(gradient, float(total.detach()), None, {}, dict(passes))


def _descend(objective: Tensor, values: dict[str, Tensor], lr: float) -> dict[str, Tensor]:
    """One differentiable step of gradient descent."""
    gradients = torch.autograd.grad(objective, list(values.values()), create_graph=True, allow_unused=True)
    moved = zip(values.items(), gradients, strict=True)
    return {name: value if g is None else value - lr * g for (name, value), g in moved}
