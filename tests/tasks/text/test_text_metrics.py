"""Scores against values worked out by hand, and the targets' losses."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hpo_bench.tasks.metrics import METRICS
from hpo_bench.tasks.targets import Binary, Classes, Regression

NAN = float("nan")


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_two_classes():
    scores, labels = column(0.9, 0.8, 0.3, 0.1, 0.7, 0.6), column(1, 1, 1, 0, 0, NAN)  # tp 2, fn 1, tn 1, fp 1
    assert METRICS["accuracy"].compute(scores, labels) == pytest.approx(3 / 5)
    assert METRICS["accuracy_f1"].compute(scores, labels) == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert METRICS["matthews"].compute(scores, labels) == pytest.approx((2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))


def test_an_undefined_correlation_is_never_silent():
    with pytest.warns(UserWarning, match="Matthews correlation is undefined"):
        assert METRICS["matthews"].compute(column(0.9, 0.9), column(1, 0)) == 0
    with pytest.warns(UserWarning, match="(Pearson|Spearman) correlation is undefined"):
        assert METRICS["pearson_spearman"].compute(column(2, 2, 2), column(1, 2, 3)) == 0
    for name in ("matthews", "pearson_spearman"):
        assert math.isnan(METRICS[name].compute(column(0.2, 0.9), column(1, 1))), "constant labels"
    assert math.isnan(METRICS["accuracy_f1"].compute(column(0.2, 0.1), column(0, 0)))


def test_correlations_know_no_scale():
    scores, labels = column(1, 2, 4, 3), column(0, 1, 2, 4)
    expected = METRICS["pearson_spearman"].compute(scores, labels)
    assert METRICS["pearson_spearman"].compute(scores * 1e-200, labels * 1e200) == pytest.approx(expected)


def test_several_classes():
    scores = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    labels = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1.0]])
    assert METRICS["accuracy"].compute(scores, labels) == pytest.approx(2 / 3)


def test_correlations():
    scores, labels = column(1, 2, 4, 3), column(0, 1, 2, 4)
    spearman, pearson = 1 - 6 * 2 / (4 * 15), 4.5 / math.sqrt(5 * 8.75)
    assert METRICS["pearson_spearman"].compute(scores, labels) == pytest.approx((spearman + pearson) / 2)


def test_losses():
    outputs, labels = torch.tensor([[1.0], [-2.0], [5.0]]), torch.tensor([[1.0], [0.0], [NAN]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert float(Binary().loss(outputs, labels)) == pytest.approx(expected)
    logits, classes = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    assert torch.allclose(Classes().loss(logits, F.one_hot(classes, 3).float()), F.cross_entropy(logits, classes))
    target = Regression(torch.tensor([[1.0], [3.0]]))  # mean 2, deviation 1
    assert float(target.loss(torch.tensor([[0.5]]), torch.tensor([[4.0]]))) == pytest.approx(2.25)
    assert float(target.decode(torch.tensor([[0.5]]))) == pytest.approx(2.5)


def test_the_probe_of_several_classes_is_at_a_minimum():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(60, 4, generator=draw).double()
    labels = F.one_hot(torch.randint(3, (60,), generator=draw), 3).float()
    weight, bias = Classes().probe(features, labels)
    std = features.std(0, correction=0)
    weight, bias = weight.requires_grad_(), bias.requires_grad_()
    value = Classes().loss(features @ weight.T + bias, labels) + 1e-2 / 2 * (weight * std).square().sum()
    for gradient in torch.autograd.grad(value, [weight, bias]):
        assert gradient.abs().max() < 1e-5
