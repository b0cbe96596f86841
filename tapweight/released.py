"""What the authors' released code computes, faults included: a named variant for comparison, not for use.

The code (`ruz048/TapWeight`) runs Betty's `darts` rule at both levels: each inverse Hessian is the identity, each mixed
derivative a central difference with ε = 0.01 / ‖vector‖. Against `hypergradient` with identity solvers it differs by

  * the two passes of a difference draw different random numbers (dropout, and masks drawn inside the loss);
  * the pretraining losses run under fp16 autocast, whose spacing exceeds the perturbation in most coordinates;
  * the validation loss, like all others, runs in training mode and moves batch-norm statistics;
  * the proximal term's mixed derivative, exactly −2γ, is computed by two passes of the fine-tuning loss.

With `autocast=None` and `common_random_numbers=True` it is Betty's rule without the first two faults: the `darts` of
the cost comparison (Liu, Simonyan, Yang 2019, equation 8; Choe et al., "Betty", ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tapweight.checks import number, refuse_off_simplex
from tapweight.evaluation import Passes, draw_seed, seed_generators
from tapweight.finite import require_finite
from tapweight.hypergradient import Hypergradient
from tapweight.levels import Finetuning, Pretraining
from tapweight.parts import devices_of, trainable


def released_hypergradient(
    pretraining: Pretraining,
    finetuning: Finetuning,
    weights: Tensor,
    *,
    pretrain_batch: Any,
    train_batch: Any,
    valid_batch: Any,
    autocast: torch.dtype | None = torch.float16,
    common_random_numbers: bool = False,
    radius: float = 0.01,
) -> Hypergradient:
    """dF/dλ (K,) as the released code has it. Parameters come back bit-identical; buffers and generators do not.

    `finetuning.module` is left in training mode.

    Args:
        autocast: dtype of the pretraining passes; None for the parameters' own.
        common_random_numbers: reseed both passes of a difference alike.
        radius: Betty's `darts_alpha`, the length by which a difference moves the parameters.

    Raises:
        HypergradientFailure: a number is not finite.
        ValueError: weights off the simplex, or a radius that is not positive.
    """
    number("radius", radius, positive=True)
    refuse_off_simplex(weights)
    passes = Passes()
    phi, theta = trainable(finetuning.module), trainable(pretraining.module)
    device = next(iter(theta.values())).device.type
    finetuning.module.train()
    valid_loss = finetuning.loss(finetuning.module, valid_batch)
    v = _present(torch.autograd.grad(valid_loss, list(phi.values()), allow_unused=True), phi)
    passes.add("valid", forward=1, backward=1)

    def train_gradient() -> list[Tensor]:
        pull = [(p.phi - p.theta).square().sum() for p in finetuning.pairs(pretraining)]
        loss = finetuning.loss(finetuning.module, train_batch) + finetuning.gamma * torch.stack(pull).sum()
        # The loss is computed in full, though only the proximal term depends on θ: autograd's backward ends there.
        passes.add("train", forward=1)
        return _present(torch.autograd.grad(loss, list(theta.values()), allow_unused=True), theta)

    def losses() -> list[Tensor]:
        with torch.no_grad(), torch.autocast(device, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            passes.add("pretrain", forward=1)
            return [pretraining.losses(pretraining.module, pretrain_batch).float()]

    both = (pretraining.module, finetuning.module) if common_random_numbers else ()
    u = [-g for g in _difference(list(phi.values()), v, radius, train_gradient, both)]
    (along,) = _difference(list(theta.values()), u, radius, losses, both)
    require_finite("the hypergradient of the released variant", along)
    return Hypergradient(-along.to(weights), float(valid_loss.detach()), None, {}, dict(passes))


def _present(gradients: tuple[Tensor | None, ...], parameters: dict[str, nn.Parameter]) -> list[Tensor]:
    pairs = zip(gradients, parameters.values(), strict=True)
    return [torch.zeros_like(p) if g is None else g for g, p in pairs]


def _difference(
    parameters: list[nn.Parameter],
    vector: list[Tensor],
    radius: float,
    function: Callable[[], list[Tensor]],
    alike: tuple[nn.Module, ...],
) -> list[Tensor]:
    """(f(p + εv) − f(p − εv)) / 2ε with ε = radius / ‖v‖; p restored from copies, since p + εv − εv rounds."""
    step = radius / max(float(torch.stack([t.norm() for t in vector]).norm()), 1e-30)
    saved = [p.detach().clone() for p in parameters]
    seed = draw_seed() if alike else 0
    ends = []
    try:
        for sign in (1, -1):
            with torch.no_grad():
                for p, s, t in zip(parameters, saved, vector, strict=True):
                    p.copy_(s + sign * step * t)
            if alike:
                seed_generators(seed, devices_of(*alike))
            ends.append(function())
    finally:
        with torch.no_grad():
            for p, s in zip(parameters, saved, strict=True):
                p.copy_(s)
    return [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
