"""The three levels, as their owner states them: a module and its losses, a module and its loss, a coupling.

    I    θ*(λ) = argmin_θ  Σ_i λ_i ℓ_i(θ)                        Pretraining
    II   φ*(θ) = argmin_φ  ℓ_train(φ) + γ ‖φ_e − θ_e‖²           Finetuning
    III  min_λ F(λ) = ℓ_valid(φ*(θ*(λ)))                         Finetuning.loss on validation batches, in eval mode

Source: Zhang, Somayajula, Xie, "TapWeight", arXiv 2410.10006, equations 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


@dataclass
class Pretraining:
    """Level I.

    Attributes:
        module: θ is the set of its parameters that require a gradient.
        losses: `losses(module, batch)` gives the K objectives' mean losses, shape (K,). It must reach parameters
            through the module that it is handed, and draw randomness from torch's global generators alone.
    """

    module: nn.Module
    losses: Callable[[nn.Module, Any], Tensor]


class Pair(NamedTuple):
    """One tensor of φ_e and the tensor of θ_e that it is pulled to."""

    phi_name: str
    theta_name: str
    phi: nn.Parameter
    theta: nn.Parameter


@dataclass
class Finetuning:
    """Levels II and III.

    Attributes:
        module: φ is the set of its parameters that require a gradient: a second encoder and a task head.
        loss: `loss(module, batch)` gives the mean task loss, a scalar; on train batches it is level II, on valid
            batches level III.
        gamma: γ of the proximal term, in units of loss per squared parameter; positive.
        shared: φ-name → θ-name of the encoder's parameters. Default: each parameter whose name starts with "encoder."
            in both modules.
        batch_size: number of samples of a batch, to weight batches of unequal size in a mean (the last, short one of
            a split). Default: batches count alike.
    """

    module: nn.Module
    loss: Callable[[nn.Module, Any], Tensor]
    gamma: float
    shared: Mapping[str, str] | None = None
    batch_size: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(
                f"gamma is {self.gamma}, must be positive: without the proximal term the fine-tuned model "
                "does not depend on pretraining. For gamma to infinity see tapweight.probe"
            )

    def pairs(self, pretraining: Pretraining) -> list[Pair]:
        """The tensors joined by the proximal term: those of φ that require a gradient, with their partners in θ.

        Tied parameters are found under any of their names. A partner in θ may be frozen: it still pulls.

        Raises:
            ValueError: names unknown to a module, shapes that differ, or no pair at all.
        """
        phi = dict(self.module.named_parameters(remove_duplicate=False))
        theta = dict(pretraining.module.named_parameters(remove_duplicate=False))
        shared = self.shared
        if shared is None:
            shared = {name: name for name in phi if name.startswith("encoder.") and name in theta}
        canonical_phi = {id(p): name for name, p in self.module.named_parameters()}
        canonical_theta = {id(p): name for name, p in pretraining.module.named_parameters()}
        pairs: dict[tuple[str, str], Pair] = {}
        for phi_name, theta_name in shared.items():
            if phi_name not in phi or theta_name not in theta:
                absent = (
                    f"{phi_name!r} in finetuning.module"
                    if phi_name not in phi
                    else f"{theta_name!r} in pretraining.module"
                )
                raise ValueError(f"shared names a parameter that does not exist: {absent}")
            a, b = phi[phi_name], theta[theta_name]
            if a.shape != b.shape:
                raise ValueError(
                    f"shared joins {phi_name!r} of shape {tuple(a.shape)} with {theta_name!r} of shape {tuple(b.shape)}"
                )
            if a.requires_grad:
                key = canonical_phi[id(a)], canonical_theta[id(b)]
                pairs[key] = Pair(*key, a, b)
        if not pairs:
            raise ValueError(
                'no shared trainable parameter: call the encoder "encoder" in both modules, or pass '
                "shared={name in finetuning.module: name in pretraining.module}"
            )
        return list(pairs.values())

    def proximal(self, pretraining: Pretraining) -> Tensor:
        """γ ‖φ_e − θ_e‖², a scalar; differentiable in φ, with θ held constant."""
        terms = [(pair.phi - pair.theta.detach()).square().sum() for pair in self.pairs(pretraining)]
        return self.gamma * torch.stack(terms).sum()

    @torch.no_grad()
    def add_proximal_grad_(self, pretraining: Pretraining) -> None:
        """Add 2γ(φ_e − θ_e) to the `.grad` of φ_e, in place: the training step's term without a graph."""
        for pair in self.pairs(pretraining):
            difference = pair.phi - pair.theta
            if pair.phi.grad is None:
                pair.phi.grad = difference.mul_(2 * self.gamma)
            else:
                pair.phi.grad.add_(difference, alpha=2 * self.gamma)
