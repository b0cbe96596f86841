"""Branches: their bill, what the verdict is, trust, and what the record says."""

import dataclasses

import pytest
import torch

from hpo_bench.core.adaptation import adapt
from hpo_bench.core.judge import READINGS, Judge, information
from hpo_bench.errors import UserError
from hpo_bench.records.files import read_lines
from hpo_bench.records.journal import Journal
from hpo_bench.search.branches import AS_SEARCHED, LOG, Branches
from hpo_bench.testing.problems import quick_problem


def search(method, problem, folder):
    assert method.supports(problem).ok, method.supports(problem).reason
    journal = Journal.open(folder, problem.meter)
    return method.search(problem, journal), journal


def test_it_finds_what_is_planted_and_says_how_far_it_is_to_be_trusted(tmp_path):
    """The closed-form task wants (0.7, 0.3, 0), of which the first objective alone has 0.97 of the cosine."""
    found, journal = search(Branches(), quick_problem(steps=60, learning_rate=0.01), tmp_path)
    assert found.weights[0] > 0.55
    assert found.weights[2] < 0.25  # equal: a third
    (trial,) = journal.trials
    assert trial.note["flat"] is False
    assert 0.5 < trial.note["signal_share"] <= 1
    lines = read_lines(journal.workspace / LOG)
    assert len(lines) == 3
    for name in READINGS:
        assert lines[0]["readings"][name] > max(line["readings"][name] for line in lines[1:3])
    assert {path.name for path in journal.workspace.iterdir()} == {LOG, AS_SEARCHED}
    assert found.value < 0.1  # the merged branches are an encoder that works


@pytest.mark.parametrize("settings", [{}, {"steps": 40}, {"batch_size": 20}])
@pytest.mark.parametrize("method", [Branches(), Branches(share=0.5, replicates=2), Branches(rows=30)])
def test_the_bill_is_what_was_announced_and_never_above_what_may_be_spent(method, settings, tmp_path):
    problem = quick_problem(**settings)
    search(method, problem, tmp_path)
    steps = method.steps(problem)
    expected = method.expected_cost(problem, steps)
    assert problem.meter.snapshot().step_equivalents == pytest.approx(expected)
    assert expected <= method.spend * problem.trial_cost * (1 + 1e-9)


def test_a_verdict_is_the_probe_s_on_valid_and_its_price_is_bounded():
    problem = quick_problem()
    task, encoder = problem.task, problem.start_trial().pretrainer.model.encoder
    torch.nn.init.normal_(encoder.theta, generator=torch.Generator().manual_seed(0))
    judge = Judge(task, problem.meter)
    adapted = adapt(task, encoder, problem.protocol, 0, problem.meter)
    rows, model = torch.arange(len(task.valid)), adapted.model.eval()
    with torch.no_grad():
        loss = float(task.task_loss(model.outputs(task, task.valid.inputs, rows), task.valid.labels))
    read = judge(encoder)
    assert read["valid loss"] == pytest.approx(-loss, rel=1e-5)
    assert read["valid metric"] == pytest.approx(-adapted.value, rel=1e-5)
    assert judge.cost(16) == 160 / 16
    few = dataclasses.replace(judge, rows=25)
    before = problem.meter.snapshot().step_equivalents
    assert few(encoder) == few(encoder) != read
    assert problem.meter.snapshot().step_equivalents - before == pytest.approx(2 * 50 / 16)
    assert few.cost(16) == 50 / 16


def test_cross_fitting_reads_every_row_by_heads_that_have_not_seen_it():
    """Against folds made by hand: every fifth row of train and of valid."""
    problem = quick_problem()
    task, encoder = problem.task, problem.start_trial().pretrainer.model.encoder
    torch.nn.init.normal_(encoder.theta, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = torch.cat([encoder(split.inputs) for split in (task.train, task.valid)])
        labels = torch.cat([task.train.labels, task.valid.labels])
        losses, unseen = [], torch.zeros_like(task.valid.labels)
        for fold in range(5):
            own = torch.zeros(160, dtype=torch.bool)
            own[fold:80:5] = own[80 + fold :: 5] = True
            weight, bias = task.solve_probe(features[~own], labels[~own])
            losses.append(float(task.task_loss(features[own] @ weight.T + bias, labels[own])))
            unseen[own[80:]] = features[80:][own[80:]] @ weight.T + bias
    on_valid = float(task.task_loss(unseen, task.valid.labels))
    read = Judge(task, problem.meter)(encoder)
    assert read["crossed valid metric"] == pytest.approx(-(on_valid**0.5), rel=1e-4)
    assert read["cross loss"] == pytest.approx(-sum(losses) / 5, rel=1e-5)
    assert read["cross metric"] == pytest.approx(-sum(loss**0.5 for loss in losses) / 5, rel=1e-4)


def test_of_a_larger_valid_split_the_rarer_class_is_kept():
    """Of train rows are drawn by lot; every search draws the same."""
    problem = quick_problem()
    task = problem.task
    for split in (task.train, task.valid):
        split.labels[:] = 0.0
        split.labels[::16] = 1.0
    drawn = {split.name: Judge(task, problem.meter, 20, most=20)._drawn(split) for split in (task.train, task.valid)}
    assert all(len(rows) == 20 and (rows.diff() > 0).all() for rows in drawn.values())
    assert set(range(0, 80, 16)) <= set(drawn["valid"].tolist())
    assert not set(range(0, 80, 16)) <= set(drawn["train"].tolist())
    task.valid.labels[:40] = 1.0
    drawn = Judge(task, problem.meter, 20)._drawn(task.valid)
    assert 10 <= int(task.valid.labels[drawn].sum()) < 20
    task.valid.labels[:] = torch.linspace(-3, 3, 80)[:, None]  # numbers have no rarer class
    assert len(Judge(task, problem.meter, 20)._drawn(task.valid)) == 20


def test_rare_labels_take_more_train_rows_up_to_a_price():
    problem = quick_problem()
    task = problem.task
    task.train.labels[:] = 0.0
    task.train.labels[::10] = 1.0  # 4 * 0.1 * 0.9 = 0.36 of what a balanced label says
    assert information(task.train.labels) == pytest.approx(0.36)
    assert len(Judge(task, problem.meter, 20)._drawn(task.train)) == 56  # 20 / 0.36
    assert len(Judge(task, problem.meter, 20, most=40)._drawn(task.train)) == 40
    assert len(Judge(task, problem.meter, 20, most=5)._drawn(task.train)) == 20
    assert len(Judge(task, problem.meter, 20)._drawn(task.valid)) == 20
    assert Judge(task, problem.meter, 20, most=40).cost(10) == (40 + 20) / 10


def test_what_a_row_of_labels_says():
    nan = float("nan")
    assert information(torch.tensor([[0.0], [1.0]])) == 1
    assert information(torch.tensor([[0.3], [7.0], [nan], [nan]])) == 0.5  # numbers, half of them known
    two = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, nan], [1.0, nan]])
    assert information(two) == 0.75  # of 0.75 and 0.5: the label that says most
    assert information(torch.zeros(8, 1)) == information(torch.full((8, 1), nan)) == 1 / 8  # nothing: all rows


def test_a_verdict_costs_at_most_half_of_a_branch():
    problem = quick_problem(steps=20, batch_size=4)
    problem.task.train.labels[:] = 0.0
    problem.task.train.labels[:1] = 1.0
    method = Branches(rows=4, spend=1)
    branch = (method.spend * problem.trial_cost - problem.adaptation_cost) / 3
    assert method._judge(problem).cost(4) == pytest.approx(branch / 2, abs=0.25)


def test_where_replicates_contradict_each_other_the_weights_stay_equal(tmp_path, monkeypatch):
    verdicts = iter([1.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    monkeypatch.setattr(Judge, "__call__", lambda self, encoder: dict.fromkeys(READINGS, next(verdicts)))
    found, journal = search(Branches(replicates=2, share=0.5), quick_problem(), tmp_path)
    assert found.weights == pytest.approx([1 / 3] * 3)
    assert journal.trials[0].note["flat"] is True


@pytest.mark.parametrize(
    "options",
    [
        {"replicates": 0},
        {"share": 0},
        {"share": 1.5},
        {"spend": -1},
        {"rows": 1},
        {"readings": "tea leaves"},
        {"reach": 0},
        {"reach": 1.1},
    ],
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(UserError):
        Branches(**options)


def test_a_budget_that_is_too_small_is_told():
    assert "budget" in Branches().supports(quick_problem("1.5")).reason
    assert "spend" in Branches(spend=0.1).supports(quick_problem()).reason
