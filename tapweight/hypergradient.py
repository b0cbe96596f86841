"""The hypergradient dF/dλ by the implicit function theorem: the chain of METHOD.md, steps 1 to 5.

    v = ∇_φ ℓ_valid(φ)                     in eval mode
    q = H_ft⁻¹ v                           finetune_solver
    u = 2γ q on the shared coordinates     exact: the proximal term's mixed derivative is −2γ
    r = H_pt⁻¹ u                           pretrain_solver
    dF/dλ_i = −⟨∇ℓ_i(θ), r⟩                all K at once (directional.py)

The bilevel ablation (levels=2) merges level II into I: one set of parameters ω = (θ, φ_h), in which fine-tuning uses
the encoder of θ, trained on Σ λ_i ℓ_i(θ) + ℓ_train(θ_e, φ_h). Then r = H_ω⁻¹ ∇_ω ℓ_valid(θ_e, φ_h) with H_ω the
Hessian of that sum, and dF/dλ_i = −⟨∇_θ ℓ_i(θ), r_θ⟩ as before. There is one solve, by `pretrain_solver`; γ is not
used, and the φ_e of `finetuning.module` is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from tapweight.curvature import Hessian, Term, value_and_gradient
from tapweight.directional import LastStep, directional_derivatives
from tapweight.errors import HypergradientFailure
from tapweight.evaluation import (
    Evaluator,
    Layout,
    Passes,
    Values,
    draw_seed,
    evaluation_mode,
    require_finite,
    trainable,
    untouched,
)
from tapweight.levels import Finetuning, Pretraining
from tapweight.solvers.base import LinearProblem, Report, Solution, Solver
from tapweight.solvers.identity import Identity


@dataclass
class Hypergradient:
    """What `hypergradient` gives.

    Attributes:
        weights: dF/dλ (K,), in units of validation loss per unit of weight.
        valid_loss: ℓ_valid at the current φ, in eval mode.
        losses: ℓ_i(θ) (K,), None where the last step did not compute them (central).
        reports: how each linear solve went: "finetune" and "pretrain" (levels=2: "joint").
        passes: passes over one batch: {"pretrain_forward": 2, "valid_backward": 1, ...}.
    """

    weights: Tensor
    valid_loss: float
    losses: Tensor | None
    reports: dict[str, Report] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)


def hypergradient(
    pretraining: Pretraining,
    finetuning: Finetuning,
    weights: Tensor,
    *,
    pretrain_batches: Sequence[Any],
    train_batches: Sequence[Any],
    valid_batches: Sequence[Any],
    finetune_solver: Solver | None = None,
    pretrain_solver: Solver | None = None,
    last_step: LastStep = "central",
    levels: Literal[3, 2] = 3,
    normalise: bool = False,
    seed: int | None = None,
    known_losses: Tensor | None = None,
) -> Hypergradient:
    """dF/dλ at the current θ and φ. Parameters, buffers, modes and generators are bit-identical afterwards.

    Every pass over a batch, in whatever level, sees the same random numbers as the other passes over it. Training
    losses are evaluated in the modules' current modes, the validation loss in eval mode, all in the parameters' own
    dtype with autocast off.

    Args:
        weights: λ (K,), used in H_pt.
        pretrain_batches, train_batches, valid_batches: each level's loss is the mean over its batches. Train batches
            are looked at only by solvers that need products with H_ft.
        finetune_solver, pretrain_solver: default Identity.
        last_step: "central", "forward", "jvp" or "gradients", see directional.py.
        levels: 3, or 2 for the bilevel ablation.
        normalise: give −cos(∇ℓ_i, r) instead: each objective's gradient at unit length (Dery et al. 2021), K
            backward passes; no longer the derivative of F.
        seed: of the passes' random numbers; pretraining batch j is evaluated after `seed_generators(seed + j, ...)`.
            Default: read off torch's generator, which is put back.
        known_losses: ℓ(θ) (K,), the mean over `pretrain_batches` at this very θ, computed in full precision after
            seeding as said: saves one of the two passes of last_step="forward".

    Raises:
        SolverFailure: a linear solve met an indefinite or singular Hessian, or diverged.
        HypergradientFailure: a loss or a derivative is not finite.
        ValueError: losses that are not (K,), modules without shared parameters, mixed dtypes.
    """
    if levels not in (3, 2):
        raise ValueError(f"levels is {levels}, must be 3 or 2")
    if levels == 2 and finetune_solver is not None:
        raise ValueError("levels=2 has a single solve, by pretrain_solver: leave finetune_solver out")
    passes = Passes()
    try:
        with untouched(pretraining.module, finetuning.module):
            first = draw_seed() if seed is None else seed
            train, valid = (
                Evaluator(
                    finetuning.module,
                    finetuning.loss,
                    batches,
                    level=level,
                    passes=passes,
                    seed=first + offset,
                    sizes=[float(finetuning.batch_size(b)) for b in batches] if finetuning.batch_size else None,
                )
                # Offsets keep the levels' streams of random numbers apart.
                for level, batches, offset in (("train", train_batches, 1 << 20), ("valid", valid_batches, 1 << 21))
            )
            if levels == 3:
                u, valid_loss, report = _through_finetuning(
                    pretraining, finetuning, train, valid, finetune_solver or Identity()
                )
                result = from_encoder_gradient(
                    pretraining,
                    weights,
                    u,
                    valid_loss,
                    pretrain_batches,
                    passes,
                    first,
                    pretrain_solver,
                    last_step,
                    normalise,
                    known_losses,
                )
                result.reports = {"finetune": report, **result.reports}
                return result
            losses = _losses(pretraining, weights, pretrain_batches, passes, first)
            r, valid_loss, report = _joint(
                pretraining, finetuning, weights, losses, train, valid, pretrain_solver or Identity()
            )
            return _along(pretraining, losses, r, valid_loss, {"joint": report}, last_step, normalise, known_losses)
    except HypergradientFailure as failure:
        failure.passes = dict(passes)
        raise


def from_encoder_gradient(
    pretraining: Pretraining,
    weights: Tensor,
    u: Tensor,
    valid_loss: float,
    pretrain_batches: Sequence[Any],
    passes: Passes,
    seed: int,
    solver: Solver | None,
    last_step: LastStep,
    normalise: bool,
    known: Tensor | None = None,
) -> Hypergradient:
    """Steps 4 and 5 from u = dF/dθ (p,), however it was found. Call inside `untouched`."""
    losses = _losses(pretraining, weights, pretrain_batches, passes, seed)
    theta = trainable(pretraining.module)
    layout = Layout(theta)
    hessian = Hessian(_terms(losses, weights), layout, theta, passes)
    r = _solve(solver or Identity(), LinearProblem(hessian, layout.zeros(), theta), u)
    return _along(pretraining, losses, r.x, valid_loss, {"pretrain": r.report}, last_step, normalise, known)


def _along(
    pretraining: Pretraining,
    losses: Evaluator,
    r: Tensor,
    valid_loss: float,
    reports: dict[str, Report],
    last_step: LastStep,
    normalise: bool,
    known: Tensor | None,
) -> Hypergradient:
    theta = trainable(pretraining.module)
    derivatives, values = directional_derivatives(
        losses, Layout(theta), theta, r, how=last_step, normalise=normalise, known=known
    )
    require_finite("the hypergradient", derivatives)
    return Hypergradient(-derivatives, valid_loss, values, reports, dict(losses.passes))


def _through_finetuning(
    pretraining: Pretraining, finetuning: Finetuning, train: Evaluator, valid: Evaluator, solver: Solver
) -> tuple[Tensor, float, Report]:
    """Steps 1 to 3: u = dF/dθ through the fine-tuned model's response to θ_e."""
    phi, theta = trainable(finetuning.module), trainable(pretraining.module)
    over_phi, over_theta = Layout(phi), Layout(theta)
    pairs = finetuning.pairs(pretraining)

    with evaluation_mode(finetuning.module):
        valid_loss, v = value_and_gradient(_terms(valid), over_phi, phi, valid.passes)
    require_finite("the validation loss or its gradient", v)

    shift = over_phi.zeros()
    for pair in pairs:
        shift[over_phi.slices[pair.phi_name]] += 2 * finetuning.gamma
    hessian = Hessian(_terms(train), over_phi, phi, train.passes)
    q = _solve(solver, LinearProblem(hessian, shift, phi), v)

    u = over_theta.zeros()
    for pair in pairs:
        if pair.theta_name in over_theta.slices:  # a frozen θ_e passes nothing on
            part = q.x[over_phi.slices[pair.phi_name]].to(u)
            u[over_theta.slices[pair.theta_name]].add_(part, alpha=2 * finetuning.gamma)
    return u, valid_loss, q.report


def _joint(
    pretraining: Pretraining,
    finetuning: Finetuning,
    weights: Tensor,
    losses: Evaluator,
    train: Evaluator,
    valid: Evaluator,
    solver: Solver,
) -> tuple[Tensor, float, Report]:
    """The bilevel ablation: r_θ of H_ω⁻¹ ∇_ω ℓ_valid."""
    theta = trainable(pretraining.module)
    pairs = finetuning.pairs(pretraining)
    encoder = {pair.phi_name: pair.theta_name for pair in pairs}
    heads = {f"head of fine-tuning: {n}": p for n, p in trainable(finetuning.module).items() if n not in encoder}
    omega = {**theta, **heads}
    layout = Layout(omega)
    frozen = {pair.theta_name: pair.theta for pair in pairs if pair.theta_name not in theta}

    def as_theta(values: Values) -> dict[str, Tensor]:
        return {name: values[name] for name in theta}

    def as_phi(values: Values) -> dict[str, Tensor]:
        own = {name.removeprefix("head of fine-tuning: "): values[name] for name in heads}
        return {**own, **{a: values[b] if b in theta else frozen[b] for a, b in encoder.items()}}

    with evaluation_mode(finetuning.module):
        valid_loss, v = value_and_gradient(_terms(valid, view=as_phi), layout, omega, valid.passes)
    require_finite("the validation loss or its gradient", v)
    terms = _terms(losses, weights, view=as_theta) + _terms(train, view=as_phi)
    r = _solve(solver, LinearProblem(Hessian(terms, layout, omega, losses.passes), layout.zeros(), omega), v)
    return r.x[: Layout(theta).size], valid_loss, r.report


def _terms(
    evaluate: Evaluator, weights: Tensor | None = None, view: Callable[[Values], Values] = lambda values: values
) -> list[Term]:
    """One term per batch: the loss, or ⟨λ, losses⟩ where weights are given."""

    def loss(index: int) -> Callable[[Values], Tensor]:
        def function(values: Values) -> Tensor:
            out = evaluate(view(values), index)
            return out if weights is None else (out * weights.to(out)).sum()

        return function

    return [Term(share, loss(j), evaluate.level) for j, share in enumerate(evaluate.shares)]


def _solve(solver: Solver, problem: LinearProblem, rhs: Tensor) -> Solution:
    solution = solver.solve(problem, rhs)
    note = problem.curvature.note if isinstance(problem.curvature, Hessian) else None
    if note is not None:
        solution.report.warning = "; ".join(filter(None, [solution.report.warning, note]))
    require_finite(f"the solution of the {solution.report.solver} solver", solution.x)
    return solution


def _losses(pretraining: Pretraining, weights: Tensor, batches: Sequence[Any], passes: Passes, seed: int) -> Evaluator:
    """`pretraining.losses`, with the shape of its result checked against that of λ."""

    def checked(module: nn.Module, batch: Any) -> Tensor:
        out = pretraining.losses(module, batch)
        if not isinstance(out, Tensor) or out.shape != weights.shape:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"pretraining.losses gave {got}, expected a tensor of shape {tuple(weights.shape)}: one "
                "mean loss per objective"
            )
        return out

    return Evaluator(pretraining.module, checked, batches, level="pretrain", passes=passes, seed=seed)
