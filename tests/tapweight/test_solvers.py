"""Solvers on bare matrices: right where they promise, and loud where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tapweight_problems import positive_definite
from torch import nn

from tapweight import SolverFailure, solvers
from tapweight.solvers import AdamDiagonal, ConjugateGradient, Exact, Identity, LinearProblem, Neumann, Nystrom


def problem(eigenvalues: list[float], shift: float = 0.0, seed: int = 0) -> tuple[LinearProblem, torch.Tensor]:
    rng = np.random.default_rng(seed)
    n = len(eigenvalues)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    matrix = torch.from_numpy((basis * np.array(eigenvalues)) @ basis.T)
    return LinearProblem(lambda x: matrix @ x, lambda: torch.full((n,), shift, dtype=torch.float64)), matrix


RHS = torch.from_numpy(np.random.default_rng(1).standard_normal(6))
MAKE = {
    "exact": lambda d: Exact(damping=d),
    "cg": lambda d: ConjugateGradient(50, damping=d, tolerance=1e-12),
    "neumann": lambda d: Neumann(2000, damping=d, tolerance=1e-12),
    "nystrom": lambda d: Nystrom(6, damping=max(d, 1e-8)),
}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_solution_against_numpy(name, shift):
    system, matrix = problem([1.0, 2.0, 3.0, 5.0, 7.0, 9.0], shift)
    solution = MAKE[name](0.3).solve(system, RHS)
    expected = np.linalg.solve(matrix.numpy() + (0.3 + shift) * np.eye(6), RHS.numpy())
    np.testing.assert_allclose(solution.x.numpy(), expected, rtol=1e-8)
    assert solution.report.residual < 1e-8
    assert solution.report.warning is None


@pytest.mark.parametrize("name", MAKE)
def test_indefinite_hessian_raises_with_the_remedy(name):
    system, _ = problem([-2.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(SolverFailure, match=r"[Rr]aise damping above") as failure:
        MAKE[name](0.0).solve(system, RHS)
    assert failure.value.report.converged is not True
    assert failure.value.report.warning


@pytest.mark.parametrize("name", MAKE)
def test_enough_damping_mends_it(name):
    system, matrix = problem([-2.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    solution = MAKE[name](2.5).solve(system, RHS)
    np.testing.assert_allclose(
        solution.x.numpy(), np.linalg.solve(matrix.numpy() + 2.5 * np.eye(6), RHS.numpy()), rtol=1e-7
    )


@pytest.mark.parametrize("name", MAKE)
def test_the_damping_named_is_on_top_of_what_there_is(name):
    """A curvature of -2 that is seen as -1 under a damping of 1 needs more than 2."""
    system, matrix = problem([-2.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    lowest = torch.linalg.eigh(matrix).eigenvectors[:, 0]
    with pytest.raises(SolverFailure, match=r"[Rr]aise damping above 2\.00e\+00"):
        MAKE[name](1.0).solve(system, lowest)


def test_neumann_names_the_damping_for_a_dominant_eigenvalue_below_zero():
    system, _ = problem([-50.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(SolverFailure, match=r"dominant eigenvalue is -4\.90e\+01.* damping above 5\.00e\+01"):
        MAKE["neumann"](1.0).solve(system, RHS)


@pytest.mark.parametrize("name", MAKE)
def test_known_shift_makes_up_for_negative_curvature(name):
    """Level II: the loss alone may curve downwards as long as 2γ outweighs it."""
    system, matrix = problem([-0.5, 1.0, 2.0, 3.0, 4.0, 5.0], shift=1.0)
    solution = MAKE[name](0.0).solve(system, RHS)
    np.testing.assert_allclose(
        solution.x.numpy(), np.linalg.solve(matrix.numpy() + np.eye(6), RHS.numpy()), rtol=1e-6, atol=1e-8
    )


def test_neumann_reports_a_step_that_diverges():
    system, _ = problem([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    with pytest.raises(SolverFailure, match="diverges"):
        Neumann(50, step=2.5 / 6.0).solve(system, RHS)
    assert Neumann(500, step=1.5 / 6.0).solve(system, RHS).report.converged


def test_truncation_is_reported_not_hidden():
    system, matrix = problem([0.01, 1.0, 2.0, 3.0, 4.0, 100.0])
    for solver in (Neumann(5), ConjugateGradient(2)):
        report = solver.solve(system, RHS).report
        assert report.converged is False
        assert "residual" in report.warning
    x = ConjugateGradient(2).solve(system, RHS).x
    measured = float((RHS - matrix @ x).norm() / RHS.norm())
    assert ConjugateGradient(2).solve(system, RHS).report.residual == pytest.approx(measured, rel=1e-10)


@pytest.mark.parametrize("name", MAKE)
def test_zero_right_hand_side_and_products(name):
    calls = []
    system, matrix = problem([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    counted = LinearProblem(lambda x: (calls.append(1), matrix @ x)[1], system.make_shift)
    report = MAKE[name](0.1).solve(counted, RHS).report
    assert report.products == len(calls)
    assert MAKE[name](0.1).cost(6) >= 9.0 * len(calls)
    assert not MAKE[name](0.1).solve(system, torch.zeros_like(RHS)).x.any()


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_diagonal_is_the_optimizers_own_preconditioner(kind, amsgrad):
    """With β₁ = 0 and no decay, Adam moves by lr · g/(√v̂ + ε): the solver must divide by the same numbers."""
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = kind([parameter], lr=0.1, betas=(0.0, 0.9), weight_decay=0.0, amsgrad=amsgrad)
    gradient = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    for scale in (3.0, 0.5, 1.0):
        before = parameter.detach().clone()
        parameter.grad = scale * gradient
        optimizer.step()
    moved = before - parameter.detach()
    system = LinearProblem(lambda x: x, lambda: torch.zeros(4), {"p": parameter})
    x = AdamDiagonal(optimizer).solve(system, gradient).x
    np.testing.assert_allclose(x.numpy(), moved.numpy() / 0.1, rtol=1e-6)


def test_adam_diagonal_says_what_it_lacks():
    parameter, stranger = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="no second moment"):
        AdamDiagonal(torch.optim.SGD([parameter], lr=0.1))
    adam = AdamDiagonal(torch.optim.Adam([parameter]))
    with pytest.raises(SolverFailure, match="warm up"):
        adam.solve(LinearProblem(lambda x: x, lambda: torch.zeros(2), {"p": parameter}), torch.ones(2))
    with pytest.raises(ValueError, match="does not hold parameter 'q'"):
        adam.solve(LinearProblem(lambda x: x, lambda: torch.zeros(2), {"q": stranger}), torch.ones(2))


def test_exact_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="ConjugateGradient"):
        Exact(largest=5).solve(problem([1.0] * 6)[0], RHS)


def test_names_and_options():
    assert set(solvers.names()) == {"identity", "adam_diagonal", "neumann", "cg", "nystrom", "exact"}
    assert isinstance(solvers.by_name("identity"), Identity)
    assert solvers.by_name("neumann", terms=3).terms == 3
    with pytest.raises(ValueError, match="known: identity"):
        solvers.by_name("newton")
    with pytest.raises(ValueError, match="give optimizer"):
        solvers.by_name("adam_diagonal")


def test_conditioning_up_to_a_million():
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(positive_definite(rng, 6, 1e6))
    system = LinearProblem(lambda x: matrix @ x, lambda: torch.zeros(6, dtype=torch.float64))
    for name in ("exact", "cg"):
        x = MAKE[name](0.0).solve(system, RHS).x.numpy()
        np.testing.assert_allclose(x, np.linalg.solve(matrix.numpy(), RHS.numpy()), rtol=1e-6)


@pytest.mark.parametrize("name", ["identity", "cg", "neumann", "nystrom", "exact"])
def test_by_name_gives_each_solver_the_settings_that_it_has(name):
    solver = solvers.by_name(name, damping=0.5, effort=3)
    assert getattr(solver, "damping", 0.5) == 0.5
    assert {vars(solver).get(word, 3) for word in ("iterations", "terms", "rank")} == {3}
    if name == "cg":
        assert solver.cost(100) == 4 * solvers.base.HVP_COST
