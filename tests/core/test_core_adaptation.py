"""Fine-tuning with early stopping, and the exactly solved probe."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from hpo_bench import registry
from hpo_bench.core.adaptation import adapt, adaptation, score
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, Metric


def encoder_near_the_optimum(task):
    model = task.build_model()
    with torch.no_grad():
        model.encoder.theta.copy_(torch.tensor([0.6, 0.2, 0.2]) @ task.centres)
    return model.encoder


def adapted(problem, encoder=None):
    encoder = encoder or encoder_near_the_optimum(problem.task)
    return adapt(problem.task, encoder, problem.protocol, problem.seed, problem.meter)


def test_an_epoch_visits_every_row_once_in_a_fresh_order(make_problem):
    problem = make_problem(adapt_batch_size=32)
    tuner = FineTuner(problem.task, problem.protocol, encoder_near_the_optimum(problem.task), 0, problem.meter)
    epochs = [torch.cat([tuner.draw_batch(epoch * 3 + i) for i in range(3)]) for epoch in range(2)]
    assert tuner.steps_per_epoch == 3
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(80))] * 2
    assert not torch.equal(*epochs)


def test_a_last_batch_of_one_borrows_a_second_row(make_problem):
    problem = make_problem(adapt_batch_size=79)
    tuner = FineTuner(problem.task, problem.protocol, encoder_near_the_optimum(problem.task), 0, problem.meter)
    assert [len(tuner.draw_batch(i)) for i in range(2)] == [79, 2]
    assert {*tuner.draw_batch(0).tolist(), *tuner.draw_batch(1).tolist()} == set(range(80))


@pytest.mark.parametrize("batch", [32, 79, 80, 100])
def test_the_bill_of_full_fine_tuning_is_the_protocol_s(make_problem, batch):
    problem = make_problem(adapt_batch_size=batch, epochs=3, patience=3)
    adapted(problem)
    assert problem.meter.total.step_equivalents == pytest.approx(problem.adaptation_cost, rel=1e-12)


def test_the_bill_of_a_probe_is_the_protocol_s(make_problem):
    problem = make_problem(mode="probe")
    adapted(problem)
    assert problem.meter.total.step_equivalents == pytest.approx((80 + 80) / problem.protocol.batch_size, rel=1e-12)
    assert problem.adaptation_cost == (80 + 80) / problem.protocol.batch_size


@pytest.mark.parametrize("mode", ["full", "probe"])
def test_flops_are_on_the_bill_in_both_modes(make_problem, network, mode):
    problem = make_problem(task=network, mode=mode, epochs=1)
    adapt(network, network.build_model().encoder, problem.protocol, 0, problem.meter)
    per_row = 2 * 8 * 8 + 2 * 8 * 1  # encoder, head
    rows = 80 + 80 if mode == "probe" else 3 * 80 + 80
    assert problem.meter.total.flops == rows * per_row


def test_early_stopping_keeps_the_best_epoch(make_problem, network):
    """Every epoch's score is computed again by hand: the one kept is the best, and training ends `patience` later."""
    settings = {"epochs": 60, "patience": 4, "adapt_learning_rate": 0.05, "dropout": 0.0}
    problem = make_problem(task=network, **settings)
    encoder = network.build_model().encoder
    found = adapt(network, encoder, problem.protocol, 0, problem.meter)

    again = make_problem(task=network, **settings)
    tuner = FineTuner(network, again.protocol, encoder, 0, again.meter)
    values, states = [], []
    for _ in range(found.epochs + 4):
        for _ in range(tuner.steps_per_epoch):
            tuner.step(tuner.draw_batch(tuner.step_number))
        values.append(score(network, tuner.model, network.valid, again.meter))
        states.append(copy.deepcopy(tuner.model.state_dict()))
    assert found.value == min(values)
    assert found.epochs == 1 + int(np.argmin(values))
    assert found.epochs + 4 < 60, "the settings should make it stop early"
    assert all(torch.equal(value, states[found.epochs - 1][name]) for name, value in found.model.state_dict().items())
    assert score(network, found.model, network.valid, again.meter) == found.value
    spent = (found.epochs + 4) * (3 * 80 + 80) / problem.protocol.batch_size
    assert problem.meter.total.step_equivalents == pytest.approx(spent)
    assert spent < problem.adaptation_cost


def test_the_first_of_equal_epochs_is_kept(make_problem, loaded):
    task = copy.copy(loaded.task)
    task.metric = Metric("constant", True, lambda scores, labels: 1.0)
    problem = make_problem(task=task, epochs=20, patience=2)
    assert adapted(problem).epochs == 1


def test_the_encoder_that_was_given_is_not_changed(make_problem):
    for mode in ("full", "probe"):
        problem = make_problem(mode=mode)
        encoder = encoder_near_the_optimum(problem.task)
        before = encoder.theta.detach().clone()
        adapted(problem, encoder)
        assert torch.equal(encoder.theta.detach(), before)


def test_fine_tuning_moves_encoder_and_head_and_a_probe_the_head_alone(make_problem):
    for mode, moves in (("full", True), ("probe", False)):
        problem = make_problem(mode=mode)
        encoder = encoder_near_the_optimum(problem.task)
        found = adapted(problem, encoder).model
        assert torch.equal(found.encoder.theta, encoder.theta) != moves


def test_the_probe_s_head_is_the_least_squares_solution(make_problem):
    problem = make_problem(mode="probe")
    task = problem.task
    found = adapted(problem)
    with torch.no_grad():
        feature = (task.train.inputs @ found.model.encoder.theta).double()
        design = torch.stack([feature, torch.ones_like(feature)], 1)
        solution = torch.linalg.lstsq(design, task.train.labels.double()).solution
        outputs = found.model.outputs(task, task.train.inputs, torch.arange(80)).double()
    assert torch.allclose(outputs, design @ solution, atol=1e-4)
    assert found.epochs == 0


def test_a_run_of_the_same_seed_is_the_same_and_of_another_is_not(make_problem, network):
    def value(seed):
        problem = make_problem(seed=seed, task=network)
        return adapt(network, network.build_model().encoder, problem.protocol, seed, problem.meter).value

    assert value(0) == value(0)
    assert value(0) != value(1)


@pytest.mark.parametrize("mode", ["full", "probe"])
def test_an_encoder_that_is_not_finite_is_told_as_divergence(make_problem, mode):
    problem = make_problem(mode=mode)
    encoder = encoder_near_the_optimum(problem.task)
    with torch.no_grad():
        encoder.theta.fill_(float("nan"))
    with pytest.raises(Diverged):
        adapted(problem, encoder)


@pytest.mark.parametrize("rate", [1e15, 1e30])
def test_a_huge_learning_rate_is_told_as_divergence(make_problem, rate):
    """At 1e15 all scores are finite numbers and their squares are not."""
    with pytest.raises(Diverged):
        adapted(make_problem(adapt_learning_rate=rate, epochs=2))


def test_bf16_adapts(make_problem, network):
    values = []
    for precision in ("fp32", "bf16"):
        problem = make_problem(task=network, precision=precision, adapt_learning_rate=0.01)
        values.append(adapt(network, network.build_model().encoder, problem.protocol, 0, problem.meter).value)
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.05)


def test_a_split_longer_than_a_block_of_prediction_is_scored_whole(make_problem):
    problem = make_problem()
    task, model = problem.task, adapted(problem).model
    inputs, labels = task.valid.inputs.repeat(20, 1), task.valid.labels.repeat(20, 1)
    long = Labelled("long", inputs, labels)
    assert score(task, model, long, problem.meter) == pytest.approx(
        score(task, model, task.valid, problem.meter), rel=1e-5
    )


def test_neighbours_score_by_the_mean_label_of_the_nearest(make_problem):
    """Against a search by hand, with labels that are missing."""
    problem = make_problem(mode="neighbours")
    task = problem.task
    labels = task.train.labels.clone()
    labels[::7] = float("nan")
    task.train = dataclasses.replace(task.train, labels=labels)
    task.embed = lambda encoder, inputs, index: inputs[index][:, :4].repeat(1, task.embedding_width // 4)
    adapted = adapt(task, task.build_model().encoder, problem.protocol, 0, problem.meter)
    train, valid = (torch.nn.functional.normalize(split.inputs[:, :4]) for split in (task.train, task.valid))
    for row in range(5):
        nearest = (train @ valid[row]).argsort(descending=True)[:10]
        expected = labels[nearest].nanmean()
        found = adapted.model.scores(task, task.valid.inputs, torch.tensor([row]))
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    assert problem.meter.snapshot().step_equivalents == pytest.approx(problem.adaptation_cost)


@pytest.mark.parametrize("mode", registry.names(registry.ADAPTATIONS))
def test_every_adaptation_costs_at_most_what_it_says_and_is_kept_whole(mode, make_problem, tmp_path):
    problem = make_problem(mode=mode)
    task, way = problem.task, adaptation(mode)
    adapted = adapt(task, encoder_near_the_optimum(task), problem.protocol, 0, problem.meter)
    assert 0 < problem.meter.snapshot().step_equivalents <= problem.adaptation_cost + 1e-9
    way.save(tmp_path / "kept.safetensors", adapted.model)
    kept = way.load(tmp_path / "kept.safetensors", task, problem.protocol, 0)
    assert score(task, kept, task.valid, problem.meter) == adapted.value
    assert way.level_two in ("tuned", "probe")


def test_an_adaptation_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UserError, match="nonsense"):
        Protocol.parsed({"mode": "nonsense"})
