"""Quadratic three-level problems: every solver against θ*, φ*, F and dF/dλ in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from tapweight_problems import Quadratic

from tapweight import hypergradient, logits_gradient
from tapweight.solvers import ConjugateGradient, Exact, Neumann, Nystrom, Solver

# Nyström at full rank errs by its damping or by rounding over it: √u balances; Neumann needs κ·log(1/ε) terms.
CONVERGED = {
    "exact": lambda: Exact(),
    "cg": lambda: ConjugateGradient(200, tolerance=1e-13),
    "neumann": lambda: Neumann(2000, tolerance=1e-12),
    "nystrom": lambda: Nystrom(100, damping=1e-8),
}


def solve(problem: Quadratic, solver: Solver, last_step: str = "jvp") -> np.ndarray:
    pretraining, finetuning = problem.levels()
    h = hypergradient(
        pretraining,
        finetuning,
        problem.lam,
        finetune_solver=solver,
        pretrain_solver=solver,
        last_step=last_step,
        **problem.batches,
    )
    return h.gradient.numpy()


@pytest.mark.parametrize("seed", range(4))
def test_the_closed_form_itself_is_right(seed):
    """scipy's finite differences agree with the analytic derivative that all else is held against."""
    problem = Quadratic(seed)
    error = check_grad(lambda a: problem.F(problem.weights(a)), problem.dF_dalpha, problem.alpha)
    assert error < 1e-6 * max(1, abs(problem.F(problem.weights())))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CONVERGED)
def test_converged_solvers_give_the_closed_form(name, seed, relative_error):
    problem = Quadratic(seed)
    got = solve(problem, CONVERGED[name]())
    assert relative_error(name, "quadratic", "closed form", got, problem.dF_dlambda(problem.weights())) < 1e-6


@pytest.mark.parametrize("name", ["exact", "cg"])
def test_logits_gradient_passes_scipy_check_grad(name):
    """The whole chain down to dF/dα against finite differences of F(α) in closed form."""
    problem = Quadratic(5)

    def gradient(alpha: np.ndarray) -> np.ndarray:
        problem.alpha = alpha
        pretraining, finetuning = problem.levels()
        h = hypergradient(
            pretraining,
            finetuning,
            problem.lam,
            finetune_solver=CONVERGED[name](),
            pretrain_solver=CONVERGED[name](),
            last_step="jvp",
            **problem.batches,
        )
        return logits_gradient(problem.lam, h.gradient).numpy()

    assert check_grad(lambda a: problem.F(np.exp(a) / np.exp(a).sum()), gradient, problem.alpha.copy()) < 1e-5


@pytest.mark.parametrize("last_step", ["central", "forward", "jvp", "gradients"])
def test_last_steps_agree_with_the_closed_form(last_step, relative_error):
    problem = Quadratic(1)
    got = solve(problem, Exact(), last_step)
    error = relative_error("exact", "quadratic", f"last step {last_step}", got, problem.dF_dlambda(problem.weights()))
    assert error < {"central": 1e-8, "forward": 1e-4, "jvp": 1e-10, "gradients": 1e-10}[last_step]


def test_central_beats_forward():
    problem = Quadratic(2)
    truth = problem.dF_dlambda(problem.weights())
    errors = {how: np.linalg.norm(solve(problem, Exact(), how) - truth) for how in ("central", "forward")}
    assert errors["central"] < errors["forward"] / 10


@pytest.mark.parametrize("seed", range(3))
def test_error_falls_with_each_block_of_neumann_terms(seed, relative_error):
    problem = Quadratic(seed, conditioning=5.0)
    truth = problem.dF_dlambda(problem.weights())
    errors = [
        relative_error(
            f"neumann, {t} terms", "quadratic", "closed form", solve(problem, Neumann(t, tolerance=1e-15)), truth
        )
        for t in (1, 4, 16, 64, 256)
    ]
    assert all(b < a for a, b in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_error_falls_with_nystrom_rank(seed, relative_error):
    """At fixed damping, whose own bias is not the sketch's fault: against the exact solve with the same damping."""
    problem = Quadratic(seed, encoder=12, theta_head=4, phi_head=4, conditioning=1000.0)
    truth = solve(problem, Exact(damping=10.0))
    errors = [
        relative_error(
            f"nystrom, rank {k}",
            "quadratic, damping 10",
            "exact, damped",
            solve(problem, Nystrom(k, damping=10.0)),
            truth,
        )
        for k in (2, 6, 11, 16)
    ]
    assert all(b < a for a, b in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-10


def test_identity_is_exact_only_where_curvature_is_one():
    """H = I at level I and 2γ ≫ curvature at II: identity's q = v must then be wrong in scale by 1/(2γ + 1) alone."""
    problem = Quadratic(0, theta_head=0, phi_head=0, conditioning=1.0, gamma=50.0)
    pretraining, finetuning = problem.levels()
    h = hypergradient(pretraining, finetuning, problem.lam, last_step="jvp", **problem.batches)
    truth = problem.dF_dlambda(problem.weights())
    np.testing.assert_allclose(h.gradient.numpy() / (2 * problem.gamma + 1), truth, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 5),
    encoder=st.integers(1, 6),
    theta_head=st.integers(0, 4),
    phi_head=st.integers(0, 4),
    gamma=st.floats(1e-3, 1e3),
    conditioning=st.floats(1.0, 1e4),
)
def test_any_shape_and_conditioning(seed, k, encoder, theta_head, phi_head, gamma, conditioning):
    problem = Quadratic(seed, k, encoder, theta_head, phi_head, gamma, conditioning)
    truth = problem.dF_dlambda(problem.weights())
    # Condition numbers multiply along the chain, and with them rounding; 1e-16 · 1e4² leaves 1e-8.
    scale = max(np.linalg.norm(truth), 1e-8)
    for name in ("exact", "cg"):
        assert np.linalg.norm(solve(problem, CONVERGED[name]()) - truth) < 1e-6 * scale, name


def test_bilevel_closed_form(relative_error):
    """levels=2 against its own closed form: ω* minimises Σ λ_i ℓ_i(θ) + ℓ_train(θ_e, φ_h)."""
    problem = Quadratic(3)
    e, h, g = problem.encoder, problem.theta_head, problem.phi_head
    to_theta = np.eye(e + h, e + h + g)
    to_phi = np.zeros((e + g, e + h + g))
    to_phi[:e, :e], to_phi[e:, e + h :] = np.eye(e), np.eye(g)

    def omega(weights):
        H = to_phi.T @ problem.B @ to_phi
        right = to_phi.T @ problem.B @ problem.b
        for w, A, a in zip(weights, problem.A, problem.a, strict=True):
            H, right = H + w * to_theta.T @ A @ to_theta, right + w * to_theta.T @ A @ a
        return np.linalg.solve(H, right), H

    def F(weights):
        d = to_phi @ omega(weights)[0] - problem.c
        return d @ problem.C @ d / 2

    weights = problem.weights()
    point, _ = omega(weights)
    step = 1e-5
    truth = [(F(weights + step * s) - F(weights - step * s)) / (2 * step) for s in np.eye(problem.k)]
    pretraining, finetuning = problem.levels()
    pretraining.module.set(to_theta @ point)
    finetuning.module.set(np.r_[np.full(e, 99.0), point[e + h :]])  # its own encoder must not matter
    for name in ("exact", "cg"):
        out = hypergradient(
            pretraining,
            finetuning,
            problem.lam,
            levels=2,
            pretrain_solver=CONVERGED[name](),
            last_step="jvp",
            **problem.batches,
        )
        assert relative_error(name, "quadratic, two levels", "central differences", out.gradient, truth) < 1e-6
        assert abs(out.valid_loss - F(weights)) < 1e-9 * abs(F(weights))
