"""The three levels, as the caller gives them: a module with its loss or losses for each, and γ, which couples them.

    I    θ*(λ) = argmin_θ  Σ_i λ_i ℓ_i(θ)                        Pretraining
    II   φ*(θ) = argmin_φ  ℓ_train(φ) + γ ‖φ_e − θ_e‖²           Finetuning
    III  min_λ F(λ) = ℓ_valid(φ*(θ*(λ)))                         Finetuning.loss on validation batches, in eval mode

Source: Zhang, Somayajula, Xie, "TapWeight", arXiv 2410.10006, equations 1 to 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tapweight.checks import FirstUse, group_of, inner, number, plain_name
from tapweight.curvature import Hessian, solve, terms_of, value_and_gradient
from tapweight.evaluation import Capture, Evaluator, Layout, Passes, Recorder, evaluation_mode
from tapweight.finite import require_finite
from tapweight.parts import parameters_by_any_name, parameters_of, trainable
from tapweight.solvers.base import LinearProblem, Report, Solver
from tapweight.solvers.identity import Identity


@dataclass
class Pretraining:
    """Level I.

    Attributes:
        module: θ is the set of its parameters that require a gradient.
        losses: `losses(module, batch)` gives the K objectives' mean losses, shape (K,). It must reach parameters
            through the module that it is handed, and draw randomness from torch's global generators alone.
        capture: makes passes of the level quicker, see `evaluation.Recorder`; the module's tensors must then stay
            where they are.
    """

    module: nn.Module
    losses: Callable[[nn.Module, Any], Tensor]
    capture: Capture | None = None
    first_use: FirstUse = field(default_factory=FirstUse, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.capture)

    def checked_losses(self, module: nn.Module, batch: Any, k: int) -> Tensor:
        """`losses(module, batch)` (K,); ValueError for another shape, which would broadcast against the weights."""
        out = self.losses(module, batch)
        if not isinstance(out, Tensor) or out.shape != (k,):
            got = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ValueError(
                f"pretraining.losses gave {got}, expected a tensor of shape ({k},): one mean loss per objective"
            )
        return out


class Pair(NamedTuple):
    """One tensor of φ_e and the tensor of θ_e that it is pulled to."""

    phi_name: str
    theta_name: str
    phi: nn.Parameter
    theta: nn.Parameter


class EncoderGradient(NamedTuple):
    """dF/dθ (p,) of the encoder, through how level II responds to it; the loss ℓ_valid; reports of the solves."""

    gradient: Tensor
    valid_loss: float | Tensor
    reports: dict[str, Report]


class TaskLevel(ABC):
    """Levels II and III: how an encoder is adapted to the task, and the validation loss that judges it.

    An estimator of the hypergradient needs `encoder_gradient` alone, so a new one serves every task level.
    """

    @abstractmethod
    def modules(self) -> tuple[nn.Module, ...]:
        """Modules of its own, besides `pretraining.module`."""

    @abstractmethod
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
        """dF/dθ at the current parameters; called inside `evaluation.untouched`, which puts everything back.

        Raises:
            HypergradientFailure: the solve failed, or a number is not finite.
        """

    @staticmethod
    @abstractmethod
    def cost(solver: Solver | None, size: int) -> tuple[float, float]:
        """Forward-equivalents of `encoder_gradient` per train batch and per valid batch, φ having `size` numbers."""

    def check(self, pretraining: Pretraining) -> None:  # noqa: B027 (a level may have nothing to check)
        """Raise ValueError where the levels do not fit together: at the start, not at the first weight update."""


@dataclass
class Finetuning(TaskLevel):
    """Levels II and III by a fine-tuned copy of the encoder, which the caller trains beside it.

    Attributes:
        module: φ is the set of its parameters that require a gradient: a second encoder and a task head.
        loss: `loss(module, batch)` gives the mean task loss, a scalar; on train batches it is level II, on valid
            batches level III.
        gamma: γ of the proximal term, in units of loss per squared parameter; positive.
        shared: φ-name → θ-name of the encoder's parameters. Default: each parameter whose name starts with "encoder."
            in both modules.
        batch_size: number of samples of a batch, to weight batches of unequal size in a mean (the last, short one of
            a split). Default: batches count alike.
        capture: as in `Pretraining`.
    """

    module: nn.Module
    loss: Callable[[nn.Module, Any], Tensor]
    gamma: float
    shared: Mapping[str, str] | None = None
    batch_size: Callable[[Any], float] | None = None
    capture: Capture | None = None
    first_use: FirstUse = field(default_factory=FirstUse, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.capture)
        why = (
            ": without the proximal term the fine-tuned model does not depend on pretraining. For gamma to infinity "
            "see tapweight.probe"
        )
        number("gamma", self.gamma, positive=True, otherwise=why)

    def modules(self) -> tuple[nn.Module, ...]:
        return (self.module,)

    @staticmethod
    def cost(solver: Solver | None, size: int) -> tuple[float, float]:
        return (solver or Identity()).cost(size), 3.0

    def check(self, pretraining: Pretraining) -> None:
        self.pairs(pretraining)
        if (group_of(self.module) is None) != (group_of(pretraining.module) is None):
            raise ValueError("one level is in DistributedDataParallel and the other is not: wrap both, or neither")

    def evaluators(
        self, train_batches: Sequence[Any], valid_batches: Sequence[Any], *, seed: int, passes: Passes
    ) -> tuple[Evaluator, Evaluator]:
        """The loss on train and on valid batches; offsets keep the levels' streams of random numbers apart."""
        train, valid = (
            Evaluator(
                self.module,
                self.checked_loss,
                batches,
                level=level,
                passes=passes,
                seed=seed + offset,
                sizes=[float(self.batch_size(b)) for b in batches] if self.batch_size else None,
                recorder=self.recorder,
            )
            for level, batches, offset in (("train", train_batches, 1 << 20), ("valid", valid_batches, 1 << 21))
        )
        return train, valid

    def checked_loss(self, module: nn.Module, batch: Any) -> Tensor:
        """`loss(module, batch)`, or ValueError where it is no scalar."""
        out = self.loss(module, batch)
        if not isinstance(out, Tensor) or out.numel() != 1:
            got = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ValueError(f"finetuning.loss gave {got}, expected a scalar tensor: the mean loss of the batch")
        return out

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
        """Steps 1 to 3 of the chain: v = ∇ℓ_valid(φ), q = H_ft⁻¹ v, u = 2γ q on the shared coordinates."""
        train, valid = self.evaluators(train_batches, valid_batches, seed=seed, passes=passes)
        phi, theta = trainable(inner(self.module)), trainable(inner(pretraining.module))
        over_phi, over_theta = Layout(phi), Layout(theta)
        pairs = self.pairs(pretraining)
        if any(pair.phi is pair.theta for pair in pairs):
            raise ValueError(
                "both levels hold one encoder: give the fine-tuned model a copy (copy.deepcopy), or levels=2"
            )

        with evaluation_mode(self.module):
            shared = [pair.phi_name for pair in pairs]
            valid_loss, v = value_and_gradient(terms_of(valid), over_phi, phi, passes, must_reach=shared, own=True)
        require_finite("the validation loss or its gradient", v)
        require_finite("the validation loss or its gradient", valid_loss)

        def shift() -> Tensor:
            pulls = Counter(pair.phi_name for pair in pairs)
            each = zip(over_phi.names, over_phi.sizes, strict=True)
            return torch.cat([v.new_full((size,), 2 * self.gamma * pulls[name]) for name, size in each])

        hessian = Hessian(terms_of(train), over_phi, phi, passes, self.first_use)
        q = solve(solver or Identity(), LinearProblem(hessian, shift, phi), v)

        parts: dict[str, Tensor] = {}  # of θ_e; a frozen one passes nothing on
        for pair in pairs:
            part = q.x[over_phi.slices[pair.phi_name]].to(over_theta.device, over_theta.dtype)
            parts[pair.theta_name] = parts[pair.theta_name] + part if pair.theta_name in parts else part
        u = over_theta.flatten([parts.get(name) for name in over_theta.names]).mul_(2 * self.gamma)
        return EncoderGradient(u, valid_loss, {"finetune": q.report})

    def pairs(self, pretraining: Pretraining) -> list[Pair]:
        """The tensors joined by the proximal term: those of φ that require a gradient, with their partners in θ.

        Tied parameters are found under any of their names. A partner in θ may be frozen: it still pulls.

        Raises:
            ValueError: names unknown to a module, shapes that differ, or no pair at all.
        """
        own, other = inner(self.module), inner(pretraining.module)
        phi, theta = parameters_by_any_name(own), parameters_by_any_name(other)
        shared = self.shared
        if shared is None:
            plain = {plain_name(name): name for name in theta}
            known = {name: plain_name(name) for name in phi}
            shared = {n: plain[p] for n, p in known.items() if p.startswith("encoder.") and p in plain}
        canonical_phi = {id(p): name for name, p in parameters_of(own).items()}
        canonical_theta = {id(p): name for name, p in parameters_of(other).items()}
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
