"""Trials share everything but their weights, and a problem leads to no test split."""

import pytest
import torch

from hpo_bench.core.budget import Budget
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled
from hpo_bench.testing.reach import reachable_tensors, shares_storage

WEIGHTS = [0.5, 0.25, 0.25]


def value_of(problem, weights):
    trial = problem.start_trial()
    trial.advance(weights, problem.protocol.steps)
    return trial.validate().value


def test_trials_of_the_same_weights_are_identical_and_of_others_differ(make_problem):
    problem = make_problem()
    assert value_of(problem, WEIGHTS) == value_of(problem, WEIGHTS) == value_of(make_problem(), WEIGHTS)
    assert value_of(problem, WEIGHTS) != value_of(problem, [0.25, 0.5, 0.25])
    assert value_of(problem, WEIGHTS) != value_of(make_problem(seed=1), WEIGHTS)


def test_better_weights_have_a_better_value(make_problem):
    problem = make_problem(steps=150, mode="probe")
    assert value_of(problem, [0.7, 0.3, 0]) < value_of(problem, [1 / 3] * 3) < value_of(problem, [0, 0, 1])


@pytest.mark.parametrize("mode", ["full", "probe"])
def test_a_score_on_the_way_leaves_the_trial_bit_identical(make_problem, network, mode, same_state):
    problem = make_problem(task=network, mode=mode)
    straight = problem.start_trial()
    straight.advance(WEIGHTS, 24)
    paused = problem.start_trial()
    for _ in range(3):
        paused.advance(WEIGHTS, 8)
        before = paused.pretrainer.state_dict()
        modes = [module.training for module in paused.pretrainer.model.modules()]
        copied = {name: value.clone() for name, value in before["model"].items()}
        paused.validate()
        assert same_state(paused.pretrainer.state_dict()["model"], copied)
        assert [module.training for module in paused.pretrainer.model.modules()] == modes
    assert same_state(paused.pretrainer.state_dict()["model"], straight.pretrainer.state_dict()["model"])
    assert paused.validate().value == straight.validate().value


def test_a_trial_goes_on_from_its_file(make_problem, network, tmp_path, same_state):
    problem = make_problem(task=network)
    whole = problem.start_trial()
    whole.advance(WEIGHTS, 24)
    half = problem.start_trial()
    half.advance(WEIGHTS, 9)
    half.save(tmp_path / "trial.safetensors")
    other = problem.start_trial()
    other.load(tmp_path / "trial.safetensors")
    assert other.step == 9
    assert not other.finished
    other.advance(WEIGHTS, 15)
    assert other.finished
    assert same_state(other.pretrainer.state_dict()["model"], whole.pretrainer.state_dict()["model"])


def test_a_trial_ends_at_the_protocol_s_last_step(make_problem):
    problem = make_problem()
    trial = problem.start_trial()
    trial.advance(WEIGHTS, 10_000)
    assert trial.step == 24
    assert problem.meter.total.step_equivalents == 3 * 24


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.5, 0.5, 0.5], [1.5, -0.5, 0]])
def test_weights_off_the_simplex_are_refused(make_problem, weights):
    trial = make_problem().start_trial()
    with pytest.raises(UserError):
        trial.advance(weights, 1)
    assert trial.step == 0


@pytest.mark.parametrize("settings", [{}, {"mode": "probe"}, {"adapt_batch_size": 79}, {"batch_size": 7}])
def test_a_trial_is_billed_what_the_protocol_says(make_problem, settings):
    problem = make_problem(**settings)
    value_of(problem, WEIGHTS)
    assert problem.meter.total.step_equivalents == pytest.approx(problem.trial_cost, rel=1e-12)


def test_the_closed_form_of_a_trial_s_cost():
    full = Protocol(steps=10, batch_size=20, epochs=2, adapt_batch_size=8)
    assert full.trial_cost(40, 10) == 3 * 10 + 2 * (3 * 40 + 10) / 20
    assert full.trial_cost(41, 10) == 3 * 10 + 2 * (3 * 42 + 10) / 20  # the last batch borrows a row
    assert Protocol(steps=10, batch_size=20, mode="probe").trial_cost(40, 10) == 3 * 10 + 50 / 20


def test_the_allowance_is_the_nearest_limit_in_step_equivalents(make_problem):
    problem = make_problem(budget="4")
    assert problem.allowance == 4 * problem.trial_cost
    problem.budget = Budget.parse("4,100se")
    assert problem.allowance == 100
    problem.budget = Budget.parse("60s")
    assert problem.allowance == float("inf")


def test_a_problem_leads_to_no_test_split(make_problem, loaded):
    """Not by attribute, container, closure or bound method, nor as the storage behind a view."""
    problem = make_problem()
    problem.start_trial().advance(WEIGHTS, 1)
    found = list(reachable_tensors(problem))
    assert any(shares_storage(tensor, problem.task.valid.labels) for tensor in found), "the walk finds valid"
    hidden = (loaded.test.inputs, loaded.test.labels)
    assert not [tensor for tensor in found for secret in hidden if shares_storage(tensor, secret)]
    names = {item.name for item in vars(problem.task).values() if isinstance(item, Labelled)}
    assert names == {"train", "valid"}


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": "0"},
        {"steps": "many"},
        {"epochs": "-1"},
        {"mode": "half"},
        {"precision": "fp8"},
        {"learning_rate": "-1e-3"},
        {"learning_rate": "nan"},
        {"adapt_learning_rate": "0"},
        {"warmup": "1"},
        {"warmup": "-0.1"},
        {"decay": "exponential"},
        {"weight_decay": "-1"},
        {"dropout": "1"},
        {"adapt_batch_size": "1"},
    ],
)
def test_a_protocol_that_cannot_be_is_refused_by_name(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Protocol.parsed(settings)


def test_the_rate_rises_and_falls_as_the_protocol_says():
    flat = Protocol(steps=10, learning_rate=0.2)
    assert not flat.scheduled
    assert [flat.rate(step) for step in range(10)] == [0.2] * 10
    linear = Protocol(steps=10, learning_rate=0.2, warmup=0.4, decay="linear")
    left = [6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    expected = [0.05, 0.1, 0.15, 0.2, *(0.2 * share for share in left)]
    assert [linear.rate(step) for step in range(10)] == pytest.approx(expected, rel=1e-12)
    cosine = Protocol(steps=9, learning_rate=0.2, decay="cosine")
    assert cosine.rate(4) == pytest.approx(0.1, rel=1e-12)  # half of the way down after 5 of 10
    assert cosine.rate(8) > 0


def test_a_protocol_is_read_from_text():
    read = Protocol.parsed({"steps": "40", "learning_rate": "1e-2", "mode": "probe"})
    assert (read.steps, read.learning_rate, read.mode) == (40, 0.01, "probe")
    assert Protocol(**read.to_json()) == read
    with pytest.raises(UserError, match="Did you mean 'steps'"):
        Protocol.parsed({"step": 3})


def test_the_same_problem_twice_leads_to_equal_numbers_on_the_bill(make_problem):
    bills = []
    for _ in range(2):
        problem = make_problem()
        value_of(problem, WEIGHTS)
        bills.append((problem.meter.total.step_equivalents, problem.meter.total.flops))
    assert bills[0] == bills[1]
    assert torch.tensor(bills[0]).min() > 0
