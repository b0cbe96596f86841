"""A small network with both levels solved to convergence: implicit differentiation against re-solving and unrolling."""

from __future__ import annotations

import itertools

import pytest
import torch
from tapweight_problems import Networks

from tapweight import hypergradient, unrolled_hypergradient
from tapweight.solvers import ConjugateGradient, Exact, Neumann, Nystrom

SOLVERS = {
    "exact": lambda: Exact(),
    "cg": lambda: ConjugateGradient(300, tolerance=1e-12),
    "neumann": lambda: Neumann(3000, tolerance=1e-8),
    "nystrom": lambda: Nystrom(100, damping=1e-8),
}


# The first minimum uses all its hidden units (condition 61 and 151 at the two levels), in the second, decay has made
# them alike: a Hessian with few distinct eigenvalues.
@pytest.fixture(scope="module", params=[(1, 0.02), (2, 0.1)], ids=["rich", "plain"])
def solved(request):
    seed, decay = request.param
    problem = Networks(seed, decay=decay)
    problem.F(problem.lam)
    return problem


@pytest.fixture(scope="module")
def truth(solved):
    return solved.central_differences(solved.lam)


@pytest.fixture(scope="module")
def implicit(solved):
    """dF/dλ by each solver."""
    out = {}
    for name, make in SOLVERS.items():
        if name == "neumann" and solved.decay < 0.1:
            continue  # thousands of terms at condition 151
        h = hypergradient(
            solved.pretraining,
            solved.finetuning,
            solved.lam,
            finetune_solver=make(),
            pretrain_solver=make(),
            last_step="jvp",
            **solved.batches,
        )
        assert all(r.residual < 1e-5 for r in h.reports.values())
        assert h.valid_loss == pytest.approx(solved.valid_loss())
        out[name] = h.gradient.numpy()
    return out


@pytest.mark.parametrize("name", SOLVERS)
def test_against_re_solving(implicit, truth, name, relative_error):
    if name not in implicit:
        pytest.skip("too ill-conditioned for a Neumann series")
    assert relative_error(name, "network", "central differences of F", implicit[name], truth) < 1e-4


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(SOLVERS, 2)))
def test_solvers_agree_in_pairs(implicit, a, b, relative_error):
    if not {a, b} <= implicit.keys():
        pytest.skip("too ill-conditioned for a Neumann series")
    assert relative_error(a, "network", f"against {b}", implicit[a], implicit[b]) < 1e-5


def test_against_a_long_unroll(solved, implicit, relative_error):
    """Gradient descent that starts at the minimum stays there; its derivative tends to the implicit one."""
    if solved.decay >= 0.1:
        pytest.skip("the richer minimum is the harder test")
    parts = zip(*solved.batches["pretrain_batches"], strict=True)
    whole = tuple(torch.cat(part) for part in parts)  # an unrolled step sees one batch: one with all rows
    errors = []
    for steps in (20, 100, 1200):
        out = unrolled_hypergradient(
            solved.pretraining,
            solved.finetuning,
            solved.lam,
            pretrain_steps=steps,
            finetune_steps=steps,
            pretrain_lr=0.8,
            finetune_lr=0.2,
            **{**solved.batches, "pretrain_batches": [whole]},
        )
        errors.append(
            relative_error(f"unroll, {steps} steps", "network", "against exact", out.gradient, implicit["exact"])
        )
    assert errors[0] > errors[1] > errors[2], errors
    assert errors[-1] < 1e-4
