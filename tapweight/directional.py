"""The last step: K directional derivatives ⟨∇ℓ_i(θ), r⟩ at once (docs/hypergradients.md).

| how | passes per batch | remark |
| --- | --- | --- |
| central | 2 forward | values alone, works with every kernel; error O(ε²) |
| forward | 1 forward where ℓ(θ) is known from the training step, else 2 | error O(ε): the cheapest |
| jvp | 3 forward (one dual pass) | exact; needs forward-mode derivatives of every operation |
| gradients | 1 forward, K backward | exact; the reference, and the only one that also knows ‖∇ℓ_i‖ |
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from tapweight.checks import FirstUse, agree, no_gradient, whole
from tapweight.errors import HypergradientFailure, lacks_derivative
from tapweight.evaluation import Evaluator, Layout, Passes, Values, sent
from tapweight.finite import read_now

LastStep = Literal["central", "forward", "jvp", "gradients"]


def last_step_cost(how: LastStep, k: int) -> float:
    """Forward-equivalents of K = `k` directional derivatives on one batch, ℓ(θ) not known; a backward pass is two.

    Raises:
        ValueError: an unknown way, or K below 1.
    """
    whole("k", k, 1)
    if how not in get_args(LastStep):
        raise ValueError(f"unknown last_step {how!r}; known: {', '.join(get_args(LastStep))}")
    return {"central": 2.0, "forward": 2.0, "jvp": 3.0, "gradients": 1.0 + 2.0 * k}[how]


def difference_step(at: Values, direction: Tensor, order: int) -> float:
    """The ε of a finite difference along `direction`: a relative step of u^(1/(order+1)), or 0 where r is 0.

    ε r moves each tensor l of θ by ε ‖r_l‖ / ‖θ_l‖ of its length; the root of the sum of squares of these is the
    relative step. With u the spacing of the number format at 1, rounding costs u|ℓ|/ε and truncation ε^order. Layers
    that are normalised make losses scale-invariant tensor by tensor, so the length over which ℓ changes its shape is
    each tensor's own. A common length would be that of the large tensors, heads that r does not even touch, and would
    carry the encoder's small ones across kinks: on the GIN of the molecule task it made central differences wrong by
    40 %. A tensor at zero has the length it would have with elements of 1e-2.
    """
    read_now()
    relative = float(_relative_length(at, direction, _least_lengths(at)))
    return 0.0 if relative == 0.0 else _relative_step(direction, order) / relative


def _relative_length(at: Values, direction: Tensor, least: Tensor) -> Tensor:
    parts = direction.split([value.numel() for value in at.values()])  # type: ignore[no-untyped-call]
    lengths = torch.stack(torch._foreach_norm(list(at.values())))
    length: Tensor = (torch.stack(torch._foreach_norm(list(parts))) / torch.maximum(lengths, least)).norm()
    return length


def _least_lengths(at: Values) -> Tensor:
    first = next(iter(at.values()))
    return sent(torch.tensor([1e-2 * value.numel() ** 0.5 for value in at.values()], dtype=first.dtype), first.device)


def _relative_step(direction: Tensor, order: int) -> float:
    return float(torch.finfo(direction.dtype).eps ** (1 / (order + 1)))


def _recorded_difference(evaluate: Evaluator, layout: Layout, at: Values, direction: Tensor, known: Tensor) -> Tensor:
    """The forward difference with its step as a tensor, so that nothing is read back."""
    least = _least_lengths(at)

    def ahead(loss: Callable[[Values], Tensor], along: Tensor) -> tuple[Tensor, Tensor]:
        relative = _relative_length(at, along, least)
        step = torch.where(relative > 0, _relative_step(along, 1) / relative, 0)
        tangents = layout.unflatten(along)
        moves = torch._foreach_mul([tangents[name] for name in at], step)
        with torch.no_grad():
            return loss(dict(zip(at, torch._foreach_add(list(at.values()), moves), strict=True))), step

    total, step = torch.zeros_like(known), known.new_ones(())
    for j, share in enumerate(evaluate.shares):
        losses, step = evaluate.run("ahead", ahead, j, direction)
        total = total + share * losses.to(total)
        evaluate.passes.add(evaluate.level, forward=1)
    return torch.where(step > 0, (total - known) / step, 0)


def directional_derivatives(
    evaluate: Evaluator,
    layout: Layout,
    at: Values,
    direction: Tensor,
    *,
    how: LastStep,
    normalise: bool = False,
    known: Tensor | None = None,
    first_use: FirstUse | None = None,
) -> tuple[Tensor, Tensor | None, LastStep]:
    """⟨∇ℓ_i(θ), r⟩ for i = 1..K, averaged over the evaluator's batches.

    Args:
        direction: r, flat (size,).
        normalise: divide the i-th by ‖∇ℓ_i‖ ‖r‖, which gives cosines; needs how="gradients".
        known: ℓ(θ) (K,) on these batches under these random numbers, for how="forward".

    Returns:
        derivatives (K,); the losses (K,) at θ, None where they were not computed (central); the way taken, which is
        "gradients" where "jvp" was asked for and an operation of the losses has no forward mode.
    """
    if normalise and how != "gradients":
        raise ValueError('normalise needs the norms of the K gradients: pass last_step="gradients"')
    if how not in get_args(LastStep):
        raise ValueError(f"unknown last_step {how!r}; known: {', '.join(get_args(LastStep))}")
    if known is not None and how != "forward":
        raise ValueError(f'known losses save a pass of last_step="forward" alone, not of {how!r}')
    at = {name: at[name].detach() for name in layout.names}
    tangents = layout.unflatten(direction)
    if how == "jvp":
        first_use = first_use or FirstUse()
        if first_use.forward_mode is not False:
            try:
                derivatives, losses = _jvp(evaluate, at, tangents)
                if first_use.forward_mode is None:
                    first_use.forward_mode = _as_backward_mode(evaluate, layout, at, direction)
                if first_use.forward_mode:
                    return derivatives, losses, how
            except HypergradientFailure:
                raise
            except (NotImplementedError, RuntimeError) as error:
                # A gradient penalty needs a graph, which the dual pass does without.
                if not lacks_derivative(error) and "does not require grad" not in str(error):
                    raise
                first_use.forward_mode = False
        how = "gradients"
    if how == "gradients":
        return *_gradients(evaluate, layout, at, direction, normalise), how
    if how == "forward" and known is not None and evaluate.recorder.capture is not None:
        return _recorded_difference(evaluate, layout, at, direction, known), known, how
    step = difference_step(at, direction, order=2 if how == "central" else 1)
    if step == 0.0:
        losses = evaluate.value(at)
        return torch.zeros_like(losses), losses, how
    ahead = evaluate.value(_moved(at, tangents, step))
    if how == "forward":
        losses = evaluate.value(at) if known is None else known.to(ahead)
        return (ahead - losses) / step, losses, how
    behind = evaluate.value(_moved(at, tangents, -step))
    return (ahead - behind) / (2 * step), None, how


def _moved(at: Values, tangents: Values, step: float) -> Values:
    """θ + step · r by name: one pass over memory."""
    values = torch._foreach_add(list(at.values()), [tangents[name] for name in at], alpha=step)
    return dict(zip(at, values, strict=True))


@cache
def _load_forward_mode() -> None:
    """What torch loads at its first dual number, which warns of torch's own use of what is deprecated."""
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.simplefilter("ignore")
        importlib.import_module("torch._decomp.decompositions_for_jvp")


def _jvp(evaluate: Evaluator, at: Values, tangents: Values) -> tuple[Tensor, Tensor]:
    _load_forward_mode()

    def dual(loss: Callable[[Values], Tensor], along: Values) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            duals = {name: forward_ad.make_dual(v, along[name]) for name, v in at.items()}  # type: ignore[no-untyped-call]
            primal, tangent = forward_ad.unpack_dual(loss(duals))  # type: ignore[no-untyped-call]
            return primal, torch.zeros_like(primal) if tangent is None else tangent

    derivatives, losses = [], []
    for j, share in enumerate(evaluate.shares):
        primal, tangent = evaluate.run("dual", dual, j, tangents)
        derivatives.append(tangent * share)
        losses.append(primal * share)
        evaluate.passes.add(evaluate.level, forward=3)
    return torch.stack(derivatives).sum(0), torch.stack(losses).sum(0)


def _as_backward_mode(evaluate: Evaluator, layout: Layout, at: Values, direction: Tensor) -> bool:
    """Does a dual pass over the first batch give what a backward pass gives, for a random combination of objectives?

    It does not where a loss stops gradients by `no_grad` (forward mode goes through; `detach` stops both), or where an
    operation's own forward derivative is wrong.

    Raises:
        ValueError: two passes give different losses.
    """
    read_now()  # a direction that is not finite would say that forward mode is wrong
    first = Passes()
    alone = copy.copy(evaluate)
    alone.passes, alone.shares = first, [1.0]
    tangents = layout.unflatten(direction)
    derivatives, losses = _jvp(alone, at, tangents)
    leaves = {name: v.detach().requires_grad_() for name, v in at.items()}
    with sdpa_kernel(SDPBackend.MATH):  # as in the dual pass: attention's other kernels draw other dropout
        values = alone(leaves, 0)
    if not torch.allclose(values.detach(), losses, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"two passes over one batch under one seed gave losses {losses.tolist()} and {values.tolist()}: draw "
            "random numbers from torch's global generators alone (no numpy, no random, no generator of your own)"
        )
    mix = torch.randn(len(losses), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(losses)
    if not values.requires_grad:
        raise HypergradientFailure(no_gradient("any objective", "any parameter"))
    gradient = layout.flatten(torch.autograd.grad((mix * values).sum(), list(leaves.values()), allow_unused=True))
    there, back = float(mix @ derivatives), float(gradient @ direction)
    return agree(there, back, float(gradient.norm() * direction.norm()), direction.dtype)


def _gradients(
    evaluate: Evaluator, layout: Layout, at: Values, direction: Tensor, normalise: bool
) -> tuple[Tensor, Tensor]:
    leaves = {name: v.detach().requires_grad_() for name, v in at.items()}
    rows: Tensor | None = None
    losses: Tensor | None = None
    reached = False
    for j, share in enumerate(evaluate.shares):
        values = evaluate(leaves, j)
        reached |= values.requires_grad
        # A constant objective has no graph; its gradient is zero.
        each = [
            torch.autograd.grad(value, list(leaves.values()), retain_graph=True, allow_unused=True)
            if value.requires_grad
            else [None] * len(leaves)
            for value in values.unbind()
        ]
        batch_rows = torch.stack([layout.flatten(g) for g in each]) * share
        rows = batch_rows if rows is None else rows + batch_rows
        losses = values.detach() * share if losses is None else losses + values.detach() * share
        evaluate.passes.add(evaluate.level, forward=1, backward=len(each))
    if not reached:
        raise HypergradientFailure(no_gradient("any objective", "any parameter"))
    assert rows is not None
    assert losses is not None
    derivatives = rows @ direction
    if normalise:
        derivatives = derivatives / (rows.norm(dim=1) * direction.norm()).clamp_min(torch.finfo(rows.dtype).tiny)
    return derivatives, losses
