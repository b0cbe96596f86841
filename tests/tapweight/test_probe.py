"""The probe limit: heads against closed forms, the derivative through the solve against re-solving."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tapweight_problems import Networks, to_minimum
from torch import nn

from tapweight import HypergradientFailure, Probe, hypergradient
from tapweight.probe import logistic_head, ridge_head
from tapweight.solvers import Exact


def data(labels: int = 2, rows: int = 30, width: int = 4, missing: bool = True):
    features = torch.randn(rows, width, dtype=torch.float64)
    targets = (features[:, :labels] + torch.randn(rows, labels, dtype=torch.float64) > 0).double()
    if missing:
        targets[::7, 0] = float("nan")
    return features, targets


def test_ridge_against_the_closed_form():
    features, targets = data(missing=False)
    weight, bias = ridge_head(features, targets, 0.3)
    X, Y = features.numpy(), targets.numpy()
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    expected = np.linalg.solve(Xc.T @ Xc / len(X) + 0.3 * np.eye(4), Xc.T @ Yc / len(X)).T
    np.testing.assert_allclose(weight, expected, rtol=1e-10)
    np.testing.assert_allclose(bias, Y.mean(0) - expected @ X.mean(0), rtol=1e-10)


@pytest.mark.parametrize("solve", [ridge_head, logistic_head])
def test_missing_labels_leave_their_rows_out(solve):
    features, targets = data()
    weight, bias = solve(features, targets, 0.1)
    present = ~targets[:, 0].isnan()
    alone = solve(features[present], targets[present][:, :1], 0.1)
    np.testing.assert_allclose(weight[:1], alone[0], rtol=1e-9)
    np.testing.assert_allclose(bias[:1], alone[1], rtol=1e-9)
    targets[:, 0] = float("nan")
    with pytest.raises(HypergradientFailure, match="no value at all"):
        solve(features, targets, 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"head": "svm"}, "ridge or logistic"), *(({"strength": s}, "strength is") for s in (0.0, -1.0, float("nan")))],
)
def test_a_head_that_is_none(options, message):
    with pytest.raises(ValueError, match=message):
        Probe(lambda m, b: b, lambda b: b, **options)


@pytest.mark.parametrize(
    ("labels", "head", "message"),
    [
        (lambda b: b[1][:, 0], "ridge", r"labels\[:, None\]"),
        (lambda b: b[1][:2, :1], "ridge", r"expected \(B, D\) and \(B, L\)"),
        (lambda b: (b[1][:, :1] > 0) * 2 - 1, "logistic", "must be 0, 1 or NaN"),
        (lambda b: torch.arange(len(b[1]))[:, None] % 3, "logistic", "must be 0, 1 or NaN"),
    ],
)
def test_labels_that_cannot_be_meant(labels, head, message):
    problem = Networks(0)
    probe = Probe(lambda m, b: m.encoder(b[0]), labels, head=head)
    with pytest.raises(ValueError, match=message):
        hypergradient(problem.pretraining, probe, problem.lam, **problem.batches)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_logistic_head_is_the_minimum(strength):
    """Against BFGS and dense Newton on the objective as it is written."""
    features, targets = data(labels=1, missing=False)
    weight, bias = logistic_head(features, targets, strength)
    head = nn.Linear(4, 1).double()

    def objective():
        loss = nn.functional.binary_cross_entropy_with_logits(head(features), targets)
        return loss + strength * head.weight.square().sum()

    to_minimum(head, objective)
    np.testing.assert_allclose(weight, head.weight.detach(), rtol=1e-7)
    np.testing.assert_allclose(bias, head.bias.detach(), rtol=1e-7)


def test_a_single_class_is_refused():
    features, targets = data(labels=1, missing=False)
    with pytest.raises(HypergradientFailure, match="single class"):
        logistic_head(features, torch.ones_like(targets), 0.1)


@pytest.mark.parametrize("head", ["ridge", "logistic"])
def test_gradient_through_the_solve(head):
    features, targets = data()
    probe = Probe(lambda m, b: b, lambda b: b, head=head, strength=0.1)
    other, labels = data(rows=11)
    features.requires_grad_()

    def value(x):
        return probe.loss(probe.solve(x, targets), other, labels)

    assert torch.autograd.gradcheck(value, (features,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("solve", [ridge_head, logistic_head])
def test_a_head_of_features_in_float32_is_the_one_of_float64(solve):
    """300 features far from 0: solved in float32, the bias was off by 3 % and the derivative by 5 %."""
    rows, width = 1000, 300
    features = (torch.randn(rows, width, dtype=torch.float64) * torch.rand(width) + 1).float()
    targets = (features[:, :1] - 1 + torch.randn(rows, 1) > 0).double()  # of another type than the features
    found = []
    for given in (features, features.double()):
        x = given.clone().requires_grad_()
        weight, bias = solve(x, targets, 1e-2)
        assert weight.dtype == bias.dtype == given.dtype
        found.append((weight, bias, *torch.autograd.grad(weight.square().sum() + bias.square().sum(), x)))
    for narrow, wide in zip(*found, strict=True):
        assert float((narrow - wide).detach().norm() / wide.detach().norm()) < 1e-5


@pytest.mark.parametrize("head", ["ridge", "logistic"])
def test_hypergradient_against_re_solving(head, relative_error):
    problem = Networks(0)
    make_labels = {"ridge": lambda b: b[1][:, :1], "logistic": lambda b: (b[1][:, :1] > 0).double()}[head]
    probe = Probe(lambda m, b: m.encoder(b[0]), make_labels, head=head, strength=0.05)
    batches = problem.batches

    def F(lam: torch.Tensor) -> float:
        problem.solve_pretraining(lam)
        with torch.no_grad():
            sets = [
                (
                    torch.cat([probe.embed(problem.pretraining.module, b) for b in batches[k]]),
                    torch.cat([probe.labels(b) for b in batches[k]]),
                )
                for k in ("train_batches", "valid_batches")
            ]
            return float(probe.loss(probe.solve(*sets[0]), *sets[1]))

    step = 1e-4
    truth = [(F(problem.lam + step * e) - F(problem.lam - step * e)) / (2 * step) for e in torch.eye(3).double()]
    value = F(problem.lam)
    out = hypergradient(problem.pretraining, probe, problem.lam, pretrain_solver=Exact(), last_step="jvp", **batches)
    assert out.valid_loss == pytest.approx(value, rel=1e-9)
    assert relative_error("exact", f"network, {head} probe", "central differences of F", out.gradient, truth) < 1e-4


def test_probe_is_the_limit_of_large_gamma(relative_error):
    """Fine-tuning with γ → ∞ and a quadratic head loss: the three-level answer tends to the probe's as 1/γ."""
    strength = 0.05
    probe = Probe(lambda m, b: m.encoder(b[0]), lambda b: b[1][:, :1], strength=strength)
    errors = []
    for gamma in (1e2, 1e4):
        problem = Networks(0, gamma=gamma)
        problem.solve_pretraining(problem.lam)

        def train_loss(module, batch):
            error = (module(batch[0]) - batch[1][:, :1]).square().mean()
            # Only training carries the head's penalty, as in the probe; the modes tell the two apart.
            return error + (strength * module.head.weight.square().sum() if module.training else 0)

        problem.finetuning.loss = train_loss
        problem.loss = train_loss
        problem.finetuning.module.encoder.load_state_dict(problem.pretraining.module.encoder.state_dict())
        problem.solve_finetuning()
        full = hypergradient(
            problem.pretraining,
            problem.finetuning,
            problem.lam,
            finetune_solver=Exact(),
            pretrain_solver=Exact(),
            last_step="jvp",
            **problem.batches,
        )
        limit = hypergradient(
            problem.pretraining, probe, problem.lam, pretrain_solver=Exact(), last_step="jvp", **problem.batches
        )
        errors.append(relative_error("exact", f"network, γ {gamma:g}", "against probe", full.gradient, limit.gradient))
    assert errors[1] < errors[0] / 20
    assert errors[1] < 1e-2
