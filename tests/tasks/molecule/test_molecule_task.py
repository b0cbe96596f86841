"""The task: probe heads, losses with missing labels, metrics, and what a search can reach."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.metrics import mae, rmse, roc_auc
from hpo_bench.tasks.molecule import Splits, build_task
from hpo_bench.tasks.probe import PENALTY, logistic, ridge

NAN = float("nan")
SMALL = {"layers": 2, "width": 16}


@pytest.fixture
def data():
    """Features (80, 6) of uneven scale with a constant column, classes and values (80, 2), some missing."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(80, 6, generator=draw, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 1, 5, 0]) + 3
    values = features[:, :2] @ torch.randn(2, 2, generator=draw, dtype=torch.float64) + torch.randn(
        80, 2, generator=draw, dtype=torch.float64
    )
    values[::7, 0] = NAN
    classes = torch.where(values.isnan(), values, (values > values.nanmean(0)).double())
    return features, classes, values


def standardised(features):
    deviation = features.std(0, correction=0)
    return (features - features.mean(0)) / torch.where(deviation < 1e-6, 1.0, deviation), deviation


def test_logistic_head_is_stationary_and_agrees_with_sklearn(data):
    from sklearn.linear_model import LogisticRegression

    features, classes, _ = data
    weight, bias = logistic(features, classes)
    x, deviation = standardised(features)
    for column in range(2):
        known = ~classes[:, column].isnan()
        w = (weight[column] * deviation).requires_grad_()
        b = (bias[column] + weight[column] @ features.mean(0)).requires_grad_()
        loss = F.binary_cross_entropy_with_logits(x[known] @ w + b, classes[known, column]) + PENALTY / 2 * w @ w
        gradients = torch.autograd.grad(loss, (w, b))
        assert max(float(g.abs().max()) for g in gradients) < 1e-5  # the bias carries a penalty of 1e-6 of its own
        model = LogisticRegression(C=1 / (PENALTY * int(known.sum())), tol=1e-10, max_iter=1000)
        model.fit(x[known].numpy(), classes[known, column].numpy())
        np.testing.assert_allclose(w.detach()[:5], model.coef_[0][:5], atol=1e-4)


def test_ridge_head_agrees_with_sklearn(data):
    from sklearn.linear_model import Ridge

    features, _, values = data
    weight, bias = ridge(features, values)
    x, _ = standardised(features)
    for column in range(2):
        known = ~values[:, column].isnan()
        model = Ridge(alpha=PENALTY * int(known.sum()), tol=1e-12).fit(x[known].numpy(), values[known, column].numpy())
        found = features @ weight[column] + bias[column]
        np.testing.assert_allclose(found, model.predict(x.numpy()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solve", [logistic, ridge])
def test_probe_is_differentiable_in_the_features(data, solve):
    features, classes, values = data
    labels = classes if solve is logistic else values
    x = features[:20, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: solve(f, labels[:20]), (x,), atol=1e-5, rtol=1e-4)


def test_a_label_of_one_class_gives_a_finite_head(data):
    features = data[0].float()
    weight, bias = logistic(features, torch.ones(80, 1))
    assert weight.isfinite().all()
    assert weight.dtype is torch.float32
    assert 5 < (features @ weight.T + bias).min() < 50


def test_metrics_leave_out_what_is_missing():
    labels = np.array([[0, 1, NAN], [1, 1, NAN], [NAN, 1, 1], [1, 1, 0]])
    scores = np.array([[0.3, 0, 0], [0.2, 0, 0], [9, 0, 0.2], [0.8, 0, 0.4]])
    assert roc_auc(scores, labels) == pytest.approx((0.5 + 0.0) / 2)
    assert np.isnan(roc_auc(scores[:, 1:2], labels[:, 1:2]))
    assert rmse(np.array([[1.0, 0], [2, 0], [9, 3]]), np.array([[0.0, 0], [0, 4], [NAN, 3]])) == pytest.approx(
        (np.sqrt(2.5) + 4 / np.sqrt(3)) / 2
    )
    assert mae(np.array([[1.0], [3]]), np.array([[0.0], [NAN]])) == 1


def test_classification_loss_by_hand(loaded):
    outputs, labels = torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([[1.0], [0.0], [NAN]])
    expected = (np.log(2) + np.log(1 + np.exp(2))) / 2
    assert loaded.task.task_loss(outputs, labels).item() == pytest.approx(expected, rel=1e-5)
    assert loaded.task.decode(outputs)[0].item() == 0.5


def test_a_missing_label_has_no_gradient(loaded):
    outputs = torch.zeros(3, 1, requires_grad=True)
    loaded.task.task_loss(outputs, torch.tensor([[NAN], [1.0], [NAN]])).backward()
    assert outputs.grad.squeeze(1).tolist() == [0.0, -0.5, 0.0]
    assert loaded.task.task_loss(outputs, torch.full((3, 1), NAN)).item() == 0


def test_regression_loss_is_in_units_of_the_train_labels(bace):
    rows = np.arange(60)
    values = np.stack([np.linspace(100, 300, 60), np.full(60, 7.0)], axis=1)
    values[3, 0] = NAN
    splits = Splits(rows[:40], rows[40:50], rows[50:])
    task = build_task("t", bace[0][:60], values, splits, kind="regression", metric="rmse", encoder=SMALL).task
    train = np.delete(values[:40, 0], 3)
    assert task.task_loss(torch.zeros(40, 2), task.train.labels).item() == pytest.approx(39 / 79, rel=1e-4)
    decoded = task.decode(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert decoded[:, 0].tolist() == pytest.approx([train.mean(), train.mean() + train.std()], rel=1e-5)
    assert decoded[0, 1].item() == pytest.approx(7)

    with torch.no_grad():
        encoder = task.build_model().eval().encoder
        features = task.embed(encoder, task.train.inputs, torch.arange(40))
        weight, bias = task.solve_probe(features, task.train.labels)
        scores = task.decode(features @ weight.T + bias)
    own = task.metric.compute(scores.numpy(), task.train.labels.numpy())
    assert own < 0.95 * train.std() / 2  # mean over a column that varies and one that is constant


def test_probe_of_the_task_scores_better_than_chance(loaded):
    task = loaded.task
    with torch.no_grad():
        encoder = task.build_model().eval().encoder
        weight, bias = task.solve_probe(task.embed(encoder, task.train.inputs, torch.arange(200)), task.train.labels)
        scores = task.decode(task.embed(encoder, task.train.inputs, torch.arange(200)) @ weight.T + bias)
    assert task.metric.compute(scores.numpy(), task.train.labels.numpy()) > 0.6


def test_embedding_and_corpus_are_the_train_split(bace, loaded):
    task = loaded.task
    assert (len(task.train), len(task.valid), len(loaded.test)) == (200, 50, 50)
    assert len(task.corpus) == 200
    assert task.embed(task.build_model().encoder, task.valid.inputs, torch.tensor([0, 7])).shape == (2, 16)
    assert task.corpus.packed is task.train.inputs
    rows = np.random.default_rng(0).permutation(300)
    assert task.train.labels[:, 0].tolist() == bace[1][rows[:200], 0].tolist()


def test_the_task_has_no_path_to_the_test_split(loaded):
    forbidden = {id(loaded.test), id(loaded.test.labels), id(loaded.test.inputs), id(loaded.test.inputs._atom_code)}
    seen: set[int] = set()
    queue = [vars(loaded.task)]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type) or type(thing).__name__ in ("module", "function"):
            continue
        seen.add(id(thing))
        queue += gc.get_referents(thing)
    assert len(seen) > 100
    assert not forbidden & seen


def test_another_corpus_may_be_given(bace):
    rows, labels = np.arange(30), bace[1][:30]
    splits = Splits(rows[:20], rows[20:25], rows[25:])
    loaded = build_task(
        "t", bace[0][:30], labels + np.arange(30)[:, None] % 2, splits, kind="regression", metric="mae", encoder=SMALL,
        corpus_smiles=["CCO", "CCN", "c1ccccc1"], objectives=("atom",),
    )  # fmt: skip
    assert len(loaded.task.corpus) == 3
    assert loaded.report["corpus"] == "3 given molecules"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "rmse"}, "does not fit"),
        ({"labels": np.full((10, 1), 3.0)}, "must be 0 or 1"),
        ({"labels": np.full((10, 1), NAN)}, "no label at all"),
        ({"labels": np.ones((10, 1))}, "both classes"),
        ({"splits": Splits(np.arange(6), np.arange(5, 8), np.arange(8, 10))}, "overlap"),
        ({"splits": Splits(np.arange(6), np.arange(0), np.arange(8, 10))}, "valid split is empty"),
        ({"metric": "auc"}, "no metric named 'auc'"),
    ],
)
def test_what_does_not_fit_is_a_user_error(change, message):
    splits = Splits(np.arange(6), np.arange(6, 8), np.arange(8, 10))
    labels = np.arange(10)[:, None] % 2
    given = {"labels": labels, "splits": splits, "kind": "classification", "metric": "roc_auc", **change}
    with pytest.raises(UserError, match=message):
        build_task("t", ["C" * (n + 1) for n in range(10)], **given)
