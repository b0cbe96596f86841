"""dF/dλ through h steps of the optimiser that is really used, by reverse mode with checkpoints.

With the step (θ, s) → Φ_t(θ, s, λ), s the optimiser's moments, and the co-states a_h = (dF/dθ, 0):

    a_t = (∂Φ_t/∂(θ, s))ᵀ a_{t+1},    dF/dλ = Σ_t (∂Φ_t/∂λ)ᵀ a_{t+1}.

For plain SGD this is dF/dλ_i = −η Σ_t ⟨∇ℓ_i(θ_t), a_{t+1}⟩ with a_t = a_{t+1} − η H_t a_{t+1}. One step (h = 1) from
plain SGD is the gradient alignment that the released TapWeight computes. Source: Maclaurin, Duvenaud, Adams 2015;
Engstrom et al. 2025 (arXiv 2503.13751) for many steps. Adam's moments are differentiated too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tapweight.checks import refuse_off_simplex, whole
from tapweight.evaluation import Layout, Passes, draw_seed, untouched
from tapweight.finite import require_finite
from tapweight.horizon.trajectory import Point, Trajectory
from tapweight.hypergradient import Hypergradient
from tapweight.levels import Pretraining
from tapweight.parts import trainable

Terminal = Callable[[], tuple[float, Mapping[str, Tensor]]]


def reverse_hypergradient(
    pretraining: Pretraining,
    optimizer: torch.optim.Optimizer,
    weights: Tensor,
    *,
    batches: Sequence[Any],
    terminal: Terminal,
    checkpoints: int | None = None,
    seed: int | None = None,
    rate: Callable[[int], float] | None = None,
) -> Hypergradient:
    """dF/dλ (K,) of F(θ_h), θ_h being θ after one step per batch under constant weights (K,) from here.

    Cost: two or three forward and backward passes a step, and one backward pass through a gradient; memory: the
    states of `checkpoints` steps and of one segment between two of them.

    Args:
        optimizer: SGD, Adam or AdamW over θ; its moments are taken as they are.
        terminal: called while the module stands at θ_h; gives F and dF/dθ_h by the parameter's name (those that are
            missing count as zero). A probe's or a fine-tuned copy's encoder gradient is one.
        checkpoints: states kept, at least 1; default √h.
        rate: learning rate of step 0, 1, … from here; default: the optimiser's own.

    F is read under the running statistics of batch norm that training has come to; they count as constants of the
    derivative.

    Raises:
        HypergradientFailure: a number is not finite.
        ValueError: no batch, weights off the simplex, or an optimiser that cannot be differentiated.
    """
    kept_at_most = checked_checkpoints(checkpoints)
    refuse_off_simplex(weights)
    passes, module = Passes(), pretraining.module
    with untouched(module):
        first = draw_seed() if seed is None else seed
        path = Trajectory(pretraining, optimizer, batches, seed=first, passes=passes, rate=rate)
        length = math.ceil(path.steps / (kept_at_most or max(1, math.isqrt(path.steps))))
        starts = list(range(0, path.steps, length))
        kept = [path.start]
        for begin in starts[1:]:
            kept.append(path.run(kept[-1], weights, begin - length, begin))
        last = path.run(kept[-1], weights, starts[-1], path.steps)
        value, gradients = _at(pretraining, last, path.buffers, terminal)
        lam = weights.detach().to(next(iter(last.values.values()))).requires_grad_()
        total, adjoint = torch.zeros_like(lam), _start(last, gradients)
        for begin, point in zip(reversed(starts), reversed(kept), strict=True):
            segment = [point]
            for number in range(begin, min(begin + length, path.steps) - 1):
                segment.append(path.run(segment[-1], weights, number, number + 1))
            for number in range(begin + len(segment) - 1, begin - 1, -1):
                before = segment[number - begin].leaves()
                after = path.step(before, lam, number, graph=True)
                ends, pulls = _paired(after, adjoint)
                found = torch.autograd.grad(ends, [lam, *before.tensors()], pulls, allow_unused=True)
                passes.add("pretrain", backward=2)
                total = total + (torch.zeros_like(lam) if found[0] is None else found[0])
                adjoint = _named(before, found[1:])
    require_finite("the hypergradient through training", total)
    return Hypergradient(total.detach(), value, None, passes=dict(passes))


def checked_checkpoints(checkpoints: int | None) -> int | None:
    """`checkpoints`, or ValueError."""
    return None if checkpoints is None else whole("checkpoints", checkpoints, 1, otherwise=", or None for √h")


def _at(
    pretraining: Pretraining, point: Point, buffers: Mapping[str, Tensor], terminal: Terminal
) -> tuple[float, Mapping[str, Tensor]]:
    """`terminal` with the module's parameters at `point` and these buffers; all are put back whatever happens."""
    own = {**trainable(pretraining.module), **dict(pretraining.module.named_buffers())}
    before = {name: tensor.data for name, tensor in own.items()}
    there = {**buffers, **point.values}
    try:
        for name, tensor in own.items():  # other storage under the same parameter: nothing is written over
            tensor.data = there[name].detach().clone()
        return terminal()
    finally:
        for name, tensor in own.items():
            tensor.data = before[name]


Adjoint = dict[tuple[str, str], Tensor]  # (kind, name of the parameter) → co-state; kind "" is θ itself


def _entries(point: Point) -> dict[tuple[str, str], Tensor]:
    """θ's and the moments' tensors by kind and name, in the order of `Point.tensors`."""
    found = {("", name): value for name, value in point.values.items()}
    return found | {(kind, name): t for kind, named in point.state.items() for name, t in named.items()}


def _start(last: Point, gradients: Mapping[str, Tensor]) -> Adjoint:
    if unknown := set(gradients) - set(last.values):
        raise ValueError(f"terminal gives a gradient for {sorted(unknown)[0]!r}, which training does not move")
    return {("", name): g.detach().to(last.values[name]) for name, g in gradients.items()}


def _paired(after: Point, adjoint: Adjoint) -> tuple[list[Tensor], list[Tensor]]:
    entries = _entries(after)
    pairs = [(entries[key], pull) for key, pull in adjoint.items() if key in entries and entries[key].requires_grad]
    return [end for end, _ in pairs], [pull for _, pull in pairs]


def _named(before: Point, found: Sequence[Tensor | None]) -> Adjoint:
    return {key: g for key, g in zip(_entries(before), found, strict=True) if g is not None}


def named_gradient(pretraining: Pretraining, flat: Tensor) -> dict[str, Tensor]:
    """A gradient (p,) over θ in the library's order, by the parameters' names: what `terminal` must give."""
    return Layout(trainable(pretraining.module)).unflatten(flat)
