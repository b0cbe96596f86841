"""Weights: always on the simplex, moved as the formula says, resumed exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tapweight import ObjectiveWeights, logits_gradient

KINDS = [
    {},
    {"parametrisation": "softmax", "optimizer": "adam"},
    {"parametrisation": "softmax", "optimizer": "sgd"},
    {"parametrisation": "mirror"},
    {"parametrisation": "mirror", "scaled": True},
]


def test_starts_equal_and_normalised():
    assert torch.equal(ObjectiveWeights(4).values, torch.full((4,), 0.25, dtype=torch.float64))
    assert ObjectiveWeights(["a", "b"]).names == ("a", "b")


@pytest.mark.parametrize("kind", KINDS)
@given(
    gradients=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=8),
    floor=st.floats(0, 0.3),
)
def test_stays_on_the_simplex_above_the_floor(kind, gradients, floor):
    weights = ObjectiveWeights(3, floor=floor, **{"lr": 0.5, **kind})
    for gradient in gradients:
        values = weights.update(torch.tensor(gradient))
        assert float(values.sum()) == pytest.approx(1.0, abs=1e-12)
        assert float(values.min()) >= floor * (1 - 1e-12)


def test_softmax_sgd_takes_the_logits_gradient():
    weights = ObjectiveWeights(3, parametrisation="softmax", lr=0.1, optimizer="sgd")
    g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for _ in range(2):
        alpha = weights.logits.detach().clone()
        values = weights.update(g)
        jacobian = torch.autograd.functional.jacobian(lambda a: a.softmax(0), alpha)
        assert torch.allclose(values, (alpha - 0.1 * jacobian.T @ g).softmax(0), rtol=1e-12)
        assert torch.allclose(logits_gradient(alpha.softmax(0), g), jacobian.T @ g, rtol=1e-12)


def test_floor_enters_the_chain_rule():
    weights = ObjectiveWeights(2, parametrisation="softmax", lr=1.0, optimizer="sgd", floor=0.4)
    g = torch.tensor([1.0, 0.0], dtype=torch.float64)
    alpha = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(((0.4 + 0.2 * alpha.softmax(0)) * g).sum(), alpha)
    weights.update(g)
    assert torch.allclose(weights.logits.detach(), -expected, rtol=1e-12)


@pytest.mark.parametrize("parametrisation", ["softmax", "mirror"])
def test_scaled_steps_have_the_gradients_direction_and_not_its_scale(parametrisation):
    plain, scaled, huge = (
        ObjectiveWeights(3, lr=0.1, parametrisation=parametrisation, optimizer="sgd", scaled=on)
        for on in (False, True, True)
    )
    g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for weights, factor in ((plain, 1), (scaled, 1), (huge, 1e12)):
        weights.update(factor * g)
    assert torch.allclose(scaled.logits, huge.logits, rtol=1e-12)
    ratio = (scaled.logits / plain.logits).detach()
    assert torch.allclose(ratio, ratio[0].expand(3), rtol=1e-9)
    # The first step: its root mean square under the weights is the step length.
    assert float((scaled.logits.detach() ** 2).mean().sqrt()) == pytest.approx(0.1)


def test_mirror_is_exponentiated_gradient():
    weights = ObjectiveWeights(3, parametrisation="mirror", lr=0.3)
    g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    weights.update(g)
    before = weights.values
    expected = before * torch.exp(-0.3 * g)
    assert torch.allclose(weights.update(g), expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", [{}, {"lr": 0.05, "parametrisation": "mirror", "scaled": True}], ids=str)
def test_steps_without_scale_circle_the_minimiser_and_their_average_finds_it(kind):
    """Mirror descent's steps stay lr long, so its last weights are within a step of it at best."""
    target = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    weights = ObjectiveWeights(3, average_from=250, **kind)
    for _ in range(500):
        weights.update(weights.values - target)
    np.testing.assert_allclose(weights.values, target, atol=0.05)
    np.testing.assert_allclose(weights.average, target, atol=5e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind and not kind.get("scaled")])
def test_descends_to_the_minimiser(kind):
    """F = Σ (λ − t)² / 2 on the simplex."""
    target = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    weights = ObjectiveWeights(3, lr=0.05 if kind.get("optimizer") == "adam" else 1.0, **kind)
    for _ in range(500):
        weights.update(weights.values - target)
    np.testing.assert_allclose(weights.values, target, atol=1e-3)


def test_prior_pulls_with_the_gradient_of_kl():
    prior = [0.7, 0.2, 0.1]
    weights = ObjectiveWeights(3, parametrisation="softmax", lr=0.5, optimizer="sgd", prior=prior, prior_strength=1.0)
    for _ in range(300):
        weights.update(torch.zeros(3))
    np.testing.assert_allclose(weights.values, prior, rtol=1e-6)


def test_average_is_the_mean_of_iterates():
    weights = ObjectiveWeights(2, parametrisation="softmax", lr=0.5, average_from=3)
    seen = [weights.update(torch.tensor([1.0, -1.0])) for _ in range(2)]
    assert torch.equal(weights.average, weights.values)
    seen = [weights.update(torch.tensor([1.0, -1.0])) for _ in range(4)]
    assert torch.allclose(weights.average, torch.stack(seen).mean(0), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_exactly(kind):
    gradients = torch.randn(6, 3, dtype=torch.float64)
    through, first = ObjectiveWeights(3, **kind), ObjectiveWeights(3, **kind)
    for g in gradients:
        through.update(g)
    for g in gradients[:3]:
        first.update(g)
    second = ObjectiveWeights(3, **kind)
    second.load_state_dict(first.state_dict())
    for g in gradients[3:]:
        second.update(g)
    assert torch.equal(second.values, through.values)
    assert torch.equal(second.average, through.average)


MOVED = [{"parametrisation": one} for one in ("evidence", "mirror", "softmax")]
MOVED.append({"parametrisation": "softmax", "optimizer": "sgd"})


@pytest.mark.parametrize("there", MOVED)
@pytest.mark.parametrize("here", MOVED)
def test_a_state_of_another_parametrisation_is_refused(there, here):
    first, second = ObjectiveWeights(2, **there), ObjectiveWeights(2, **here)
    first.update(torch.tensor([1.0, -1.0]))
    if there == here:
        second.load_state_dict({k: v for k, v in first.state_dict().items() if k != "moved_by"})  # of an older version
        return
    with pytest.raises(ValueError, match="moved by"):
        second.load_state_dict(first.state_dict())
    assert torch.equal(second.logits, torch.zeros(2, dtype=torch.float64)), "nothing was loaded"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"names": 0}, "names is 0"),
        ({"names": []}, "at least one"),
        ({"names": 2, "floor": 0.5}, "floor"),
        ({"names": 2, "lr": -1.0}, "lr"),
        ({"names": 2, "prior": [0.5, 0.5]}, "together"),
        ({"names": 2, "parametrisation": "log"}, "mirror or softmax"),
        ({"names": 2, "trust": -1.0}, "trust"),
        ({"names": 2, "scaled": True}, "no scale"),
        ({"names": "mask"}, "a list of names"),
        ({"names": ["mask", "mask"]}, "the same name"),
        ({"names": 2, "prior": [1.0, float("inf")], "prior_strength": 1.0}, "positive numbers"),
        ({"names": 2, "prior": [1.0, 1.0], "prior_strength": -1.0}, "prior_strength is -1.0"),
        ({"names": 2, "prior": [1.0, 0.0], "prior_strength": 1.0}, "positive"),
    ],
)
def test_refuses_nonsense(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveWeights(**kwargs)


def test_refuses_what_is_not_a_gradient():
    weights = ObjectiveWeights(2)
    for bad in (torch.zeros(3), torch.tensor([1.0, float("nan")])):
        with pytest.raises(ValueError, match="2 finite numbers"):
            weights.update(bad)
    with pytest.raises(ValueError, match="belongs to objectives"):
        weights.load_state_dict(ObjectiveWeights(["a", "b"]).state_dict())


def test_adam_and_scaled_steps_exclude_each_other():
    with pytest.raises(ValueError, match="Adam scales the gradient itself"):
        ObjectiveWeights(2, parametrisation="softmax", scaled=True)


def run(weights: ObjectiveWeights, gradient, updates: int, seed: int, noise: float = 1.0) -> ObjectiveWeights:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(updates):
        shake = noise * torch.randn(len(weights), generator=generator, dtype=torch.float64)
        weights.update(gradient(weights.values) + shake)
    return weights


def away_from_the_centre(weights: ObjectiveWeights) -> float:
    return float((weights.values - 1 / len(weights)).abs().sum()) / 2


@pytest.mark.parametrize("updates", [40, 400])
def test_pure_noise_leaves_the_weights_at_their_centre(updates):
    """Share of the weight that has moved, mean over 20 seeds. Scaled mirror descent at 0.05: 0.12 and 0.34."""
    none = lambda values: torch.zeros(6, dtype=torch.float64)  # noqa: E731
    moved = [away_from_the_centre(run(ObjectiveWeights(6), none, updates, seed)) for seed in range(20)]
    assert np.mean(moved) < 0.08
    mirror = [
        away_from_the_centre(run(ObjectiveWeights(6, parametrisation="mirror", scaled=True), none, updates, seed))
        for seed in range(20)
    ]
    assert np.mean(mirror) > 2 * np.mean(moved)


@pytest.mark.parametrize("updates", [40, 400])
def test_an_oracle_gets_nearly_everything_however_few_the_updates(updates):
    """A constant gradient as large as the noise of one draw."""
    slope = torch.tensor([-1.0, 0.0, 0.0, 0.0, 0.0, 0.5], dtype=torch.float64)
    found = [run(ObjectiveWeights(6), lambda values: slope, updates, seed).values for seed in range(10)]
    assert min(float(values[0]) for values in found) > 0.6
    assert np.mean([float(values[0]) for values in found]) > 0.85
    assert max(float(values[5]) for values in found) < 0.1


def test_evidence_is_what_its_formula_says():
    """By hand: three updates of K = 2 at weights that are known."""
    weights = ObjectiveWeights(2, trust=1.0)
    for g in ([1.0, -1.0], [3.0, -3.0]):
        assert weights.update(torch.tensor(g)).tolist() == [0.5, 0.5]  # two are no evidence yet
    weights.update(torch.tensor([2.0, -2.0]))
    # Over running root mean squares 1, 2.28266, 2.18262: 1, 1.31426, 0.91633; Σ s g = 6.37751, Σ s² g² = 15.46603,
    # z = 1.62167; mean 1.06292, variance 0.03246 of 18/7 draws, so t² = 54.70.
    logit = 1.62167 * (1 - 1 / 54.70)
    np.testing.assert_allclose(float(weights.values[1]), 1 / (1 + np.exp(-2 * logit)), rtol=1e-5)


@given(scale=st.floats(1e-12, 1e12), seed=st.integers(0, 100))
def test_evidence_has_no_scale(scale, seed):
    g = torch.randn(12, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    one, other = ObjectiveWeights(3), ObjectiveWeights(3)
    for gradient in g:
        one.update(gradient)
        other.update(scale * gradient)
    np.testing.assert_allclose(other.values, one.values, rtol=1e-6)
