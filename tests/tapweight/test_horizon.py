"""Derivatives through training against training again with other weights, in float64; designs and trust by hand."""

import copy

import pytest
import torch
from tapweight_problems import Quadratic
from torch import nn

from tapweight import ObjectiveWeights, Pretraining, WeightLearner
from tapweight.evaluation import Passes
from tapweight.horizon import (
    DESIGNS,
    ThroughTraining,
    effects,
    forward_hypergradient,
    metasmoothness,
    pooled,
    reverse_hypergradient,
    vertices,
    weights_of,
)

K, STEPS = 3, 7
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    "dampened": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.2, betas=(0.8, 0.95)),
}


class Net(nn.Module):
    """A small smooth network with batch norm, dropout, and a head that no objective reaches."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 4))
        self.heads = nn.Linear(4, K)
        self.idle = nn.Parameter(torch.ones(2))

    def losses(self, batch):
        x, y = batch
        return (self.heads(torch.tanh(self.encoder(x))) - y).square().mean(0)


@pytest.fixture
def problem():
    torch.manual_seed(0)
    net = Net().double()
    batches = [(torch.randn(12, 5).double(), torch.randn(12, K).double()) for _ in range(STEPS)]
    return net, batches


def outer(net):
    """F: a smooth function of the encoder, and its gradient by name."""
    probe = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(2, 5)
    weight = net.encoder[4].weight
    value = torch.tanh(probe @ net.encoder[0].weight.T).square().sum() + (weight**3).sum() + weight.sum()
    own = {name: p for name, p in net.named_parameters() if name in ("encoder.0.weight", "encoder.4.weight")}
    return float(value.detach()), dict(zip(own, torch.autograd.grad(value, list(own.values())), strict=True))


def warmed(net, batches, make):
    """An optimiser that has made two steps, so that its moments are not zero."""
    optimizer = make(net.parameters())
    for number, batch in enumerate(batches[:2]):
        torch.manual_seed(900 + number)
        optimizer.zero_grad()
        net.losses(batch).mean().backward()
        optimizer.step()
    return optimizer


def trained_again(net, optimizer, batches, weights, rates=None):
    """F after training a copy."""
    return outer(after_training(net, optimizer, batches, weights, rates))[0]


def after_training(net, optimizer, batches, weights, rates=None):
    """A copy, trained with torch's own optimiser."""
    net, optimizer_state = copy.deepcopy(net), copy.deepcopy(optimizer.state_dict())
    again = type(optimizer)(net.parameters(), lr=0.1)
    again.load_state_dict(optimizer_state)
    for number, batch in enumerate(batches):
        torch.manual_seed(50 + number)
        if rates:
            again.param_groups[0]["lr"] = rates(number)
        again.zero_grad()
        (net.losses(batch) * weights).sum().backward()
        again.step()
    return net


def differences(net, optimizer, batches, weights, rates=None):
    found = []
    for i in range(K):
        shift = 1e-5 * torch.eye(K, dtype=torch.float64)[i]
        up, down = (trained_again(net, optimizer, batches, weights + sign * shift, rates) for sign in (1, -1))
        found.append((up - down) / 2e-5)
    return torch.tensor(found, dtype=torch.float64)


WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("estimate", [reverse_hypergradient, forward_hypergradient])
@pytest.mark.parametrize("warm", [False, True])
def test_it_is_what_training_again_with_other_weights_gives(problem, kind, estimate, warm):
    net, batches = problem
    optimizer = warmed(net, batches, OPTIMIZERS[kind]) if warm else OPTIMIZERS[kind](net.parameters())
    expected = differences(net, optimizer, batches, WEIGHTS)
    found = estimate(
        Pretraining(net, Net.losses), optimizer, WEIGHTS, batches=batches, terminal=lambda: outer(net), seed=50
    )
    assert found.valid_loss == pytest.approx(trained_again(net, optimizer, batches, WEIGHTS), rel=1e-12)
    assert torch.allclose(found.gradient, expected, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("checkpoints", [1, 2, 3, STEPS])
def test_checkpoints_change_nothing_but_memory(problem, checkpoints):
    net, batches = problem
    optimizer = warmed(net, batches, OPTIMIZERS["adamw"])
    options = {"batches": batches, "terminal": lambda: outer(net), "seed": 50}
    both = [
        reverse_hypergradient(Pretraining(net, Net.losses), optimizer, WEIGHTS, checkpoints=c, **options)
        for c in (None, checkpoints)
    ]
    assert torch.equal(*[found.gradient for found in both])


def test_a_schedule_of_the_rate_is_followed(problem):
    net, batches = problem
    optimizer = OPTIMIZERS["adam"](net.parameters())
    rates = lambda step: 0.03 / (1 + step)  # noqa: E731
    found = reverse_hypergradient(
        Pretraining(net, Net.losses),
        optimizer,
        WEIGHTS,
        batches=batches,
        terminal=lambda: outer(net),
        seed=50,
        rate=rates,
    )
    expected = differences(net, optimizer, batches, WEIGHTS, rates)
    assert torch.allclose(found.gradient, expected, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("estimate", [reverse_hypergradient, forward_hypergradient])
def test_the_task_is_read_under_the_statistics_that_training_has_come_to(problem, estimate):
    net, batches = problem
    optimizer = OPTIMIZERS["adam"](net.parameters())
    x = torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(4, 5)

    def evaluated(module):
        module.eval()
        value = float(module.encoder(x).square().sum().detach())
        module.train()
        return value

    expected = evaluated(after_training(net, optimizer, batches, WEIGHTS))
    found = estimate(
        Pretraining(net, Net.losses),
        optimizer,
        WEIGHTS,
        batches=batches,
        terminal=lambda: (evaluated(net), outer(net)[1]),
        seed=50,
    )
    assert found.valid_loss == pytest.approx(expected, rel=1e-12)


def test_nothing_is_left_changed(problem):
    net, batches = problem
    optimizer = warmed(net, batches, OPTIMIZERS["adam"])
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    state = torch.get_rng_state()
    reverse_hypergradient(
        Pretraining(net, Net.losses), optimizer, WEIGHTS, batches=batches, terminal=lambda: outer(net), seed=50
    )
    after = net.state_dict(), optimizer.state_dict()
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert all(
        torch.equal(old, new)
        for p in before[1]["state"]
        for old, new in zip(before[1]["state"][p].values(), after[1]["state"][p].values(), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda net: torch.optim.RMSprop(net.parameters()), "RMSprop"),
        (lambda net: torch.optim.SGD(net.heads.parameters(), lr=0.1), "does not hold"),
        (lambda net: torch.optim.Adam(net.parameters(), amsgrad=True), "amsgrad"),
        (lambda net: torch.optim.SGD(net.parameters(), lr=0.1, maximize=True), "maximises"),
    ],
)
def test_an_optimiser_that_cannot_be_differentiated_is_refused(problem, make, reason):
    net, batches = problem
    with pytest.raises(ValueError, match=reason):
        reverse_hypergradient(
            Pretraining(net, Net.losses), make(net), WEIGHTS, batches=batches, terminal=lambda: outer(net)
        )


@pytest.mark.parametrize("name", DESIGNS)
def test_a_linear_score_is_found_exactly_by_every_design(name):
    slopes = torch.tensor([0.3, -0.1, 0.5, -0.2], dtype=torch.float64)
    design = DESIGNS[name](4)
    assert torch.allclose(design.sum(1), torch.ones(4, dtype=torch.float64))
    levels = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    found = effects(design, design @ slopes + levels)
    assert torch.allclose(found.values, slopes - slopes.mean(), atol=1e-12)
    assert found.shrinkage == pytest.approx(1.0)


def test_weights_stay_equal_where_replicates_contradict_each_other():
    scores = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    found = effects(vertices(3), scores)
    assert found.flat
    assert weights_of(found).tolist() == pytest.approx([1 / 3] * 3)


def test_trust_is_the_share_of_variance_that_replicates_agree_on():
    found = effects(vertices(3), torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]]))
    assert found.values.tolist() == pytest.approx([1.5, 0, -1.5])
    # between: 2 · 4.5 / 2; within: 4 · 0.25 / 2
    assert found.ratio == pytest.approx(4.5 / 0.5)
    assert found.shrinkage == pytest.approx(8 / 9)
    step = 0.4 * (8 / 9) * (2 / 3) ** 0.5 / 2**0.5  # of the way to a vertex, along (1, 0, -1) at unit length
    assert weights_of(found).tolist() == pytest.approx([1 / 3 + step, 1 / 3, 1 / 3 - step])
    assert weights_of(found, reach=0.2).tolist() == pytest.approx([1 / 3 + step / 2, 1 / 3, 1 / 3 - step / 2])


@pytest.mark.parametrize("seed", range(5))
def test_inside_the_simplex_weights_point_where_the_effects_do(seed):
    slopes = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weights = weights_of(effects(vertices(6), slopes[None]), reach=0.1)
    step, centred = weights - 1 / 6, slopes - slopes.mean()
    assert float(weights.sum()) == pytest.approx(1)
    assert float(step.norm()) == pytest.approx(0.1 * (5 / 6) ** 0.5)
    assert float(step @ centred / (step.norm() * centred.norm())) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reach", [0.1, 0.4, 0.9, 3.0])
def test_weights_are_the_best_of_the_simplex_less_a_price_of_the_distance(seed, reach):
    """In float64, against 2,000 other weightings, corners and edges among them."""
    source = torch.Generator().manual_seed(seed)
    slopes = torch.randn(6, dtype=torch.float64, generator=source)
    found = effects(vertices(6), slopes[None])
    weights = weights_of(found, reach)
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights.min()) >= 0
    unit, length = found.values / found.values.norm(), reach * (5 / 6) ** 0.5

    def worth(at):
        return at @ unit - (at - 1 / 6).square().sum(-1) / (2 * length)

    others = torch.rand(2000, 6, dtype=torch.float64, generator=source).log().neg().pow(3)
    others = torch.cat([others / others.sum(1, keepdim=True), torch.eye(6, dtype=torch.float64)])
    assert float(worth(others).max()) <= float(worth(weights)) + 1e-12


def test_one_objective_far_worse_than_the_others_does_not_end_the_step():
    weights = weights_of(effects(vertices(4), torch.tensor([[1.0, 0.5, 0.0, -20.0]])), reach=0.6)
    assert float(weights[3]) == 0
    assert float(weights[0]) > float(weights[1]) > float(weights[2]) > 0.25


def test_readings_count_alike_whatever_their_scale_and_cancel_where_they_disagree():
    one, other = torch.tensor([1.0, 0.0, -1.0]), torch.tensor([0.0, 1.0, -1.0])
    found = pooled(vertices(3), torch.stack([1000 * one, 0.01 * other])[None])
    assert found.values.tolist() == pytest.approx([0.5**1.5, 0.5**1.5, -2 * 0.5**1.5])
    opposite = pooled(vertices(3), torch.stack([one, -5 * one])[None])
    assert opposite.values.norm() == pytest.approx(0, abs=1e-12)
    assert opposite.flat
    apart = pooled(vertices(3), torch.stack([one, torch.tensor([1.0, -2.0, 1.0])])[None])  # at right angles
    assert apart.shrinkage == pytest.approx(0.5**0.5)
    assert pooled(vertices(3), one[None, None]).shrinkage == pytest.approx(1)
    agreed = pooled(vertices(3), torch.stack([one, 3 * one])[None])
    assert agreed.shrinkage == pytest.approx(1)
    with_silence = pooled(vertices(3), torch.stack([one, torch.full((3,), 7.0), 3 * one])[None])
    assert torch.allclose(with_silence.values, agreed.values)
    assert with_silence.shrinkage == pytest.approx(1)


@pytest.mark.parametrize("scores", [torch.ones(1, 2), torch.tensor([[1.0, float("nan"), 0.0]])])
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ValueError, match="score"):
        effects(vertices(3), scores)


def test_metasmoothness_by_hand():
    start, once, twice = torch.zeros(3), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([2.0, 0.5, 0.0])
    assert metasmoothness(start, once, twice) == pytest.approx((2.0 - 0.5) / 2.5)
    assert metasmoothness(start, start + 1, start + 2) == 1.0


def test_one_step_of_sgd_is_gradient_alignment():
    """h = 1: dF/dλ_i = −η ⟨∇ℓ_i, u⟩, u the task's gradient at the encoder after the step."""
    problem = Quadratic(seed=3)
    pretraining, finetuning = problem.levels()
    optimizer = torch.optim.SGD(pretraining.module.parameters(), lr=0.03)
    learner = WeightLearner(
        pretraining, finetuning, ObjectiveWeights(3), estimator=ThroughTraining(optimizer, steps=1), every=1
    )
    found = learner.update(**problem.batches)
    theta = pretraining.module.flat().detach()
    losses = pretraining.losses(pretraining.module, None)
    gradients = torch.stack([flat_gradient(one, pretraining.module) for one in losses])
    after = theta - 0.03 * gradients.mean(0)
    pretraining.module.set(after.numpy())
    u = finetuning.encoder_gradient(pretraining, ["train"], ["valid"], solver=None, seed=0, passes=Passes()).gradient
    assert torch.allclose(found.gradient, -0.03 * gradients @ u, rtol=1e-10)
    assert found.passes["valid_forward"] == 1


def flat_gradient(loss, module):
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)])
