"""Batches in parts: the whole batch's gradient, its bill, and its record."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpo_bench.core.captured import CapturedStep
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.micro_batches import MicroBatches, cautions, labelled_parts
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError
from hpo_bench.tasks.digits.task import load as load_digits
from hpo_bench.tasks.sending import bounds, rows


@pytest.fixture(scope="module")
def digits():
    """Neither batch norm nor dropout: parts are the batch to rounding."""
    return load_digits(device=torch.device("cpu"), objectives=("rotation", "masked")).task


def pretrained(problem, steps):
    trainer = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    losses = [trainer.step(torch.tensor([0.3, 0.7]), trainer.draw_batch(step)) for step in range(steps)]
    return trainer, torch.stack(losses)


def flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@given(st.integers(1, 300), st.integers(2, 300))
def test_parts_cover_every_row_once_and_none_is_alone(size, most):
    cuts = bounds(size, most)
    assert [row for start, end in cuts for row in range(start, end)] == list(range(size))
    lengths = [end - start for start, end in cuts]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= min(2, size)
    assert max(lengths) <= most or most < 3 >= max(lengths)


def test_what_has_no_rows_is_not_cut_in_silence():
    with pytest.raises(TypeError, match="batch of 4 rows"):
        rows([torch.zeros(4), torch.zeros(3), torch.zeros(4), torch.zeros(4)], 0, 2)


@pytest.mark.parametrize("most", [2, 5, 8])
def test_steps_in_parts_are_those_of_whole_batches(make_problem, digits, most):
    whole, losses = pretrained(make_problem(task=digits), 4)
    parts, same = pretrained(make_problem(task=digits, micro_batch_size=most), 4)
    assert isinstance(parts.draw_batch(0), MicroBatches)
    assert torch.allclose(losses, same, rtol=1e-4)
    assert torch.allclose(flat(whole.model), flat(parts.model), atol=1e-4)
    assert not torch.allclose(flat(whole.model), flat(digits.build_model()), atol=1e-3)


def test_a_loss_counts_by_its_terms_and_not_by_rows(make_problem, digits):
    """Hidden pixels differ from part to part: a mean of means would be another loss."""
    trainer = Pretrainer(digits, Protocol(batch_size=16, micro_batch_size=4), 0, make_problem(task=digits).meter)
    batch = trainer.draw_batch(0)
    hidden = torch.tensor([float(part.targets["masked"]["hidden"].sum()) for part in batch.parts])
    assert len(set(hidden.tolist())) > 1
    each = torch.stack([digits.objective_losses(trainer.model, part) for part in batch.parts])
    found = trainer.losses(batch)
    assert torch.allclose(found[1], (each[:, 1] * hidden).sum() / hidden.sum())
    assert not torch.allclose(found[1], each[:, 1].mean(), rtol=1e-6)


def test_parts_cost_what_the_batch_costs(make_problem, digits):
    bills = []
    for settings in ({}, {"micro_batch_size": 5}):
        problem = make_problem(task=digits, **settings)
        pretrained(problem, 3)
        tuner = FineTuner(digits, problem.protocol, digits.build_model().encoder, 0, problem.meter)
        tuner.step(tuner.draw_batch(0))
        bills.append(problem.meter.total)
    assert bills[0].step_equivalents == bills[1].step_equivalents
    assert bills[0].flops == pytest.approx(bills[1].flops)


def test_captured_steps_in_parts_are_the_eager_ones(make_problem, digits):
    """All parts and the optimiser's step are one capture: with a stand-in, bit by bit."""
    ends = []
    for captured in (False, True):
        problem = make_problem(task=digits, micro_batch_size=5)
        trainer = Pretrainer(digits, problem.protocol, 0, problem.meter)
        step = trainer._captured = CapturedStep(trainer._body, lambda run: run) if captured else None
        for number in range(5):
            losses = trainer.step(torch.tensor([0.3, 0.7]), trainer.draw_batch(number))
        ends.append(torch.cat([losses, flat(trainer.model)]))
    assert step.replays == 4
    assert torch.equal(*ends)


class Held:
    """A tensor that autograd keeps; `now` and `most` count their numbers, but for parameters."""

    now = most = 0

    def __init__(self, tensor):
        self.tensor, self.count = tensor, 0 if tensor.is_leaf and tensor.requires_grad else tensor.numel()
        Held.now += self.count
        Held.most = max(Held.most, Held.now)

    def __del__(self):
        Held.now -= self.count


def test_the_graph_of_one_part_at_a_time_is_held(make_problem, digits):
    """What parts are for."""
    most = []
    for settings in ({}, {"micro_batch_size": 8}):
        trainer = Pretrainer(digits, Protocol(batch_size=64, **settings), 0, make_problem(task=digits).meter)
        batch = trainer.draw_batch(0)
        trainer._calibrate(batch)
        Held.now = Held.most = 0
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            trainer.step(torch.tensor([0.5, 0.5]), batch)
        most.append(Held.most)
    assert most[1] < most[0] / 3  # weights are counted too where a view of them is kept


def test_fine_tuning_in_parts_is_fine_tuning(make_problem, digits):
    found = []
    for settings in ({}, {"micro_batch_size": 7}):
        problem = make_problem(task=digits, dropout=0.0, **settings)
        tuner = FineTuner(digits, problem.protocol, digits.build_model().encoder, 0, problem.meter)
        losses = [float(tuner.step(tuner.draw_batch(step))) for step in range(3)]
        found.append((losses, flat(tuner.model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)


def test_missing_labels_count_for_nothing():
    labels = torch.tensor([[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0], [1.0, 1.0]])
    parts = list(labelled_parts(torch.arange(4), labels, 2))
    assert [part.tolist() for part, _ in parts] == [[0, 1], [2, 3]]
    assert [float(share) for _, share in parts] == pytest.approx([0.2, 0.8])
    ((index, share),) = labelled_parts(torch.arange(4), labels, None)
    assert share is None
    assert index.tolist() == [0, 1, 2, 3]


def test_the_record_names_parts_and_older_records_stay_the_same_run():
    assert "micro_batch_size" not in Protocol().to_json()
    assert Protocol.parsed({"micro_batch_size": "32"}).to_json()["micro_batch_size"] == 32
    assert Protocol(**Protocol(micro_batch_size=32).to_json()).in_parts
    assert not Protocol(batch_size=16, micro_batch_size=16).in_parts
    with pytest.raises(UserError, match="micro_batch_size must be at least 2, not"):
        Protocol(micro_batch_size=1)


def test_what_parts_change_is_said(network):
    planted = load_digits(device=torch.device("cpu"), plant=("harmful",)).task
    (sentence,) = cautions(planted, Protocol(batch_size=16, micro_batch_size=8))
    assert "contrast, harmful compares" in sentence
    (sentence,) = cautions(network, Protocol(batch_size=16, micro_batch_size=8))
    assert "batch norm" in sentence
    assert cautions(planted, Protocol(batch_size=16)) == []
    (sentence,) = cautions(planted, Protocol(batch_size=1))
    assert (
        sentence
        == "batch_size=1: contrast, harmful compares the rows of a batch, which has one: its loss tells nothing"
    )
