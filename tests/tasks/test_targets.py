"""The heads that are solved on frozen features: optimal, and differentiable through the solve."""

import pytest
import torch

from hpo_bench.tasks.probe import PENALTY, multinomial
from hpo_bench.tasks.targets import Binary, Classes, Regression


def problem(kind, rows=60, width=4):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    signal = features[:, :3] + 0.5 * torch.randn(rows, 3, generator=draw, dtype=torch.float64)
    if kind == "binary":
        return features, (signal[:, :2] > 0).double(), Binary()
    if kind == "classes":
        return features, torch.eye(3, dtype=torch.float64)[signal.argmax(1)], Classes()
    return features, signal[:, :2], Regression(signal[:, :2])


@pytest.mark.parametrize("kind", ["binary", "classes", "regression"])
def test_the_derivative_of_a_solved_head_is_that_of_solving_again(kind):
    features, labels, target = problem(kind)
    judge = torch.randn(20, features.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def judged(x):
        weight, bias = target.probe(x, labels)
        return target.loss(judge @ weight.T + bias, labels[:20])

    x = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judged(x), x)
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        one, two = (float(judged(features + step * direction)) for step in (1e-4, -1e-4))
    assert float((gradient * direction).sum()) == pytest.approx((one - two) / 2e-4, rel=1e-5)


def test_the_softmax_head_is_where_its_objective_has_no_slope():
    features, labels, target = problem("classes")
    features = (features - features.mean(0)) / features.std(0, unbiased=False)
    weight, bias = (part.requires_grad_() for part in multinomial(features, labels))
    penalty = PENALTY / 2 * weight.square().sum() + 1e-6 / 2 * bias.square().sum()
    objective = target.loss(features @ weight.T + bias, labels) + penalty
    slopes = torch.autograd.grad(objective, [weight, bias])
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-9


def test_classes_that_no_row_has_are_ruled_out():
    features, labels, target = problem("classes")
    labels[labels[:, 2] == 1] = float("nan")
    features.requires_grad_()
    weight, bias = target.probe(features, labels)
    assert (features @ weight.T + bias).argmax(1).max() < 2
    labels[labels[:, 1] == 1] = float("nan")  # a single class is left
    weight, bias = target.probe(features, labels)
    assert (features @ weight.T + bias).argmax(1).max() == 0


@pytest.mark.parametrize(("kind", "groups"), [("binary", False), ("classes", True), ("regression", False)])
def test_the_best_constant_and_the_groups(kind, groups):
    _, labels, target = problem(kind, rows=400)
    constant = target.constant(labels).expand_as(labels)
    loss = target.loss(constant, labels)
    for step in (-0.1, 0.1):
        for column in range(labels.shape[1]):
            moved = constant.clone()
            moved[:, column] += step
            assert target.loss(moved, labels) > loss
    assert (target.groups(labels) is not None) == groups
    if kind == "binary":
        assert target.groups(labels[:, :1]).tolist() == labels[:, 0].tolist()
