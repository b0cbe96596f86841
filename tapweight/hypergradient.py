"""The hypergradient dF/dλ by the implicit function theorem: the chain of docs/hypergradients.md.

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

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from tapweight.checks import group_of, inner, mean_over_ranks, refuse_off_simplex
from tapweight.curvature import Hessian, solve, terms_of, value_and_gradient
from tapweight.directional import LastStep, directional_derivatives
from tapweight.errors import HypergradientFailure
from tapweight.evaluation import Evaluator, Layout, Passes, Values, draw_seed, evaluation_mode, untouched
from tapweight.finite import read_now, read_together, require_finite
from tapweight.levels import Finetuning, Pretraining, TaskLevel
from tapweight.parts import trainable
from tapweight.solvers.base import LinearProblem, Report, Solver
from tapweight.solvers.identity import Identity


@dataclass
class Hypergradient:
    """What `hypergradient` gives.

    Attributes:
        gradient: dF/dλ (K,), in units of validation loss per unit of weight.
        valid_loss: ℓ_valid at the current φ, in eval mode.
        losses: ℓ_i(θ) (K,), None where the last step did not compute them (central).
        reports: how each linear solve went: "finetune" and "pretrain" (levels=2: "joint").
        last_step: how the directional derivatives were taken; another way than asked for where that was not to be had.
        passes: passes over one batch, without those of the checks of first use:
            {"pretrain_forward": 2, "valid_backward": 1, ...}.
    """

    gradient: Tensor
    valid_loss: float
    losses: Tensor | None
    reports: dict[str, Report] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)
    last_step: LastStep | None = None


def hypergradient(
    pretraining: Pretraining,
    task: TaskLevel,
    weights: Tensor,
    *,
    pretrain_batches: Sequence[Any],
    train_batches: Sequence[Any],
    valid_batches: Sequence[Any],
    finetune_solver: Solver | None = None,
    pretrain_solver: Solver | None = None,
    last_step: LastStep = "jvp",
    levels: Literal[3, 2] = 3,
    normalise: bool = False,
    seed: int | None = None,
    known_losses: Tensor | None = None,
) -> Hypergradient:
    """dF/dλ at the current θ and φ. Parameters, buffers, modes and generators are bit-identical afterwards.

    Every pass over a batch, in whatever level, sees the same random numbers as the other passes over it. Training
    losses are evaluated in the modules' current modes, the validation loss in eval mode, all in the parameters' own
    dtype with autocast off. Modules in DistributedDataParallel give the hypergradient of all processes' batches, with
    the same bits on each; each process passes its own batches, of equal sizes.

    The first call at a level checks its derivatives: `jvp` against a backward pass, products with the Hessian for
    symmetry. Where they fail a slower way is taken from then on, and said: `last_step`, `reports`.

    Args:
        task: levels II and III, a `Finetuning` or a `Probe`.
        weights: λ (K,), used in H_pt.
        pretrain_batches, train_batches, valid_batches: each level's loss is the mean over its batches. Train batches
            are looked at only by solvers that need products with H_ft.
        finetune_solver: default Identity. A probe's level II is solved exactly and takes none.
        pretrain_solver: default Identity.
        last_step: "jvp" (exact; "gradients" where an operation has no forward mode), "gradients" (exact), "central" or
            "forward" (differences of values), see directional.py.
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
        ValueError: losses that are not (K,), weights off the simplex, modules without shared parameters, mixed dtypes,
            modules that cannot be evaluated aside (sharded ones, embeddings with max_norm).
    """
    if levels not in (3, 2):
        raise ValueError(f"levels is {levels}, must be 3 or 2")
    if levels == 2 and finetune_solver is not None:
        raise ValueError("levels=2 has a single solve, by pretrain_solver: leave finetune_solver out")
    if levels == 2 and not isinstance(task, Finetuning):
        raise ValueError(f"levels=2 trains the head along, a {type(task).__name__} solves it: give a Finetuning")
    refuse_off_simplex(weights)
    if normalise and group_of(pretraining.module) is not None:
        raise ValueError("normalise needs the gradients of the whole batch, which processes do not exchange")
    passes = Passes()
    try:
        with untouched(pretraining.module, *task.modules()), read_together():
            first = draw_seed() if seed is None else seed
            losses = losses_of(pretraining, weights, pretrain_batches, passes, first)
            if levels == 2:
                assert isinstance(task, Finetuning)
                train, valid = task.evaluators(train_batches, valid_batches, seed=first, passes=passes)
                r, valid_loss, reports = _joint(pretraining, task, weights, losses, train, valid, pretrain_solver)
            else:
                u, valid_loss, reports = task.encoder_gradient(
                    pretraining, train_batches, valid_batches, solver=finetune_solver, seed=first, passes=passes
                )
                theta = trainable(inner(pretraining.module))
                layout = Layout(theta)
                hessian = Hessian(terms_of(losses, weights), layout, theta, passes, pretraining.first_use)
                solution = solve(pretrain_solver or Identity(), LinearProblem(hessian, layout.zeros, theta), u)
                r, reports = solution.x, {**reports, "pretrain": solution.report}
            return _along(pretraining, losses, r, valid_loss, reports, last_step, normalise, known_losses)
    except HypergradientFailure as failure:
        failure.passes = dict(passes)
        raise


def _along(
    pretraining: Pretraining,
    losses: Evaluator,
    r: Tensor,
    valid_loss: float | Tensor,
    reports: dict[str, Report],
    last_step: LastStep,
    normalise: bool,
    known: Tensor | None,
) -> Hypergradient:
    theta = trainable(inner(pretraining.module))
    derivatives, values, how = directional_derivatives(
        losses,
        Layout(theta),
        theta,
        r,
        how=last_step,
        normalise=normalise,
        known=known,
        first_use=pretraining.first_use,
    )
    derivatives = mean_over_ranks(derivatives, losses.group)
    require_finite("the hypergradient", derivatives)
    read_now()
    values = None if values is None else mean_over_ranks(values, losses.group)
    return Hypergradient(-derivatives, float(valid_loss), values, reports, dict(losses.passes), how)


def _joint(
    pretraining: Pretraining,
    finetuning: Finetuning,
    weights: Tensor,
    losses: Evaluator,
    train: Evaluator,
    valid: Evaluator,
    solver: Solver | None,
) -> tuple[Tensor, float | Tensor, dict[str, Report]]:
    """The bilevel ablation: r_θ of H_ω⁻¹ ∇_ω ℓ_valid."""
    theta = trainable(inner(pretraining.module))
    pairs = finetuning.pairs(pretraining)
    encoder = {pair.phi_name: pair.theta_name for pair in pairs}
    heads = {f"head of fine-tuning: {n}": p for n, p in trainable(inner(finetuning.module)).items() if n not in encoder}
    omega = {**theta, **heads}
    layout = Layout(omega)
    frozen = {pair.theta_name: pair.theta for pair in pairs if pair.theta_name not in theta}

    def as_theta(values: Values) -> dict[str, Tensor]:
        return {name: values[name] for name in theta}

    def as_phi(values: Values) -> dict[str, Tensor]:
        own = {name.removeprefix("head of fine-tuning: "): values[name] for name in heads}
        return {**own, **{a: values[b] if b in theta else frozen[b] for a, b in encoder.items()}}

    with evaluation_mode(finetuning.module):
        valid_loss, v = value_and_gradient(terms_of(valid, view=as_phi), layout, omega, valid.passes)
    require_finite("the validation loss or its gradient", v)
    require_finite("the validation loss or its gradient", valid_loss)
    terms = terms_of(losses, weights, view=as_theta) + terms_of(train, view=as_phi)
    hessian = Hessian(terms, layout, omega, losses.passes)
    r = solve(solver or Identity(), LinearProblem(hessian, layout.zeros, omega), v)
    return r.x[: Layout(theta).size], valid_loss, {"joint": r.report}


def losses_of(
    pretraining: Pretraining, weights: Tensor, batches: Sequence[Any], passes: Passes, seed: int
) -> Evaluator:
    """`pretraining.losses`, with the shape of its result checked against that of λ."""

    def checked(module: nn.Module, batch: Any) -> Tensor:
        return pretraining.checked_losses(module, batch, len(weights))

    return Evaluator(
        pretraining.module,
        checked,
        batches,
        level="pretrain",
        passes=passes,
        seed=seed,
        recorder=pretraining.recorder,
    )
