"""Batches as an accelerator has them, of few shapes: the same losses as the processor's own."""

import copy
from types import SimpleNamespace

import pytest
import torch

from hpo_bench.core.captured import CapturedStep, described
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.micro_batches import MicroBatches, objective_losses
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.tasks.text.encoder import Reordered
from hpo_bench.tasks.text.fixed import fixed, widths
from tests.tasks.text.conftest import load, save_model

CPU = torch.device("cpu")


def drawn(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=["bert", "roberta", "deberta-v2"])
def task(request, tmp_path_factory):
    from hpo_bench.tasks.text.tokens import Tokeniser

    path = save_model(tmp_path_factory.mktemp("fixed") / request.param, request.param)
    return load("regression", path, Tokeniser(path)).task


def test_buckets_have_less_padding_and_room_for_nearly_every_batch(task):
    corpus = task.corpus
    usual = corpus.usual_widths(48)
    assert len(usual) == 3
    assert list(usual) == sorted(usual)
    fits = 0
    for seed in range(100, 130):
        batch = task.draw_batch(48, drawn(seed))
        need = widths(batch, 32)
        one = fixed(batch, 32, CPU, usual)
        got = one.views["clean"].widths
        assert all(a <= b for a, b in zip(need, got, strict=True))
        assert got[-1] == one.views["clean"].ids.shape[1]
        fits += got[:-1] == usual
    assert fits >= 25
    sizes = torch.cat([view.sizes for view in batch.views.values()])
    assert int(sizes.sum()) <= sum(got) * len(sizes) / 4 <= one.views["clean"].ids.shape[1] * len(sizes)


def test_rows_in_another_order_have_every_derivative():
    order = torch.tensor([2, 0, 3, 1])
    rows = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def run(given):
        return Reordered.apply(given, order, order.argsort()).sin()

    assert torch.equal(Reordered.apply(rows, order, order.argsort()), rows[order])
    assert torch.autograd.gradcheck(run, (rows,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(run, (rows,))


def test_parts_of_an_accelerator_are_the_batch(task):
    """Positions are counted anew in each part, and what is filled up counts for nothing."""
    whole = task.draw_batch(16, drawn(1))
    parts = MicroBatches(tuple(fixed(part, 32, CPU) for part in task.draw_parts(16, 5, drawn(1))))
    assert [len(part) for part in parts.parts] == [4, 4, 4, 4]
    own = [i for i, name in enumerate(task.objectives) if name not in task.compares_rows]
    assert len(own) > 1
    model = task.build_model().double().eval()
    expected = task.objective_losses(model, whole)[own]
    assert torch.allclose(objective_losses(task, model, parts)[own], expected, rtol=1e-6)


@pytest.mark.parametrize("limit", [20, 32])
def test_padding_changes_no_loss_and_no_gradient(task, limit):
    """Without dropout, which would draw other numbers for other shapes."""
    batch = task.draw_batch(16, drawn(1))
    there = fixed(batch, limit, CPU)
    assert len(there.views["clean"].widths) > 1  # in buckets
    found = []
    for one in (batch, there):
        model = task.build_model().double().eval()
        losses = task.objective_losses(model, one)
        losses.sum().backward()
        found.append((losses.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    (losses, gradients), (same, others) = found
    assert torch.allclose(losses, same, rtol=1e-10, atol=1e-12)
    assert len(gradients) == len(others)
    for a, b in zip(gradients, others, strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-10)


def test_texts_that_fill_their_width_need_no_mask(bert, tokeniser):
    task = load("binary", bert, tokeniser, objectives=("contrast",)).task
    batch = task.draw_batch(60, drawn(0))
    longest = int(batch.views["clean"].sizes.max())
    rows = (batch.views["clean"].sizes == longest).nonzero().squeeze(1)
    same = task.corpus.batch_at(batch.index[rows], drawn(0))
    model = task.build_model().double().eval()
    full = fixed(same, longest, CPU)
    assert full.views["clean"].full is True
    assert fixed(batch, longest, CPU).views["clean"].full is False
    expected = task.objective_losses(model, same)
    assert torch.allclose(task.objective_losses(model, full), expected, rtol=1e-10)


def test_batches_come_in_few_shapes_and_one_piece(task):
    batches = [fixed(task.draw_batch(16, drawn(seed)), 32, CPU) for seed in range(30)]
    assert len({described(batch)[0] for batch in batches}) <= 4
    assert len({t.untyped_storage().data_ptr() for t in described(batches[0])[1]}) == 1


def test_captured_steps_are_the_eager_ones(bert, tokeniser):
    """With a stand-in for the capture: the closure that a graph would repeat, on the addresses that it would use."""
    task = load("regression", bert, tokeniser).task
    ends = []
    for capture in (None, lambda run: run):
        trainer = Pretrainer(task, Protocol(batch_size=16), 0, CostMeter(16, task.device))
        step = trainer._captured = None if capture is None else CapturedStep(trainer._body, capture)
        weights = torch.full((task.num_objectives,), 1 / task.num_objectives)
        for number in range(8):
            losses = trainer.step(weights, fixed(trainer.draw_batch(number), 32, CPU))
        ends.append((losses, *trainer.model.state_dict().values()))
    assert step.replays > 2
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_no_pass_of_a_step_waits(task):
    from tests.tasks.molecule.test_molecule_stalls import Waits

    model, batch = task.build_model().train(), fixed(task.draw_batch(16, drawn(3)), 32, CPU)
    if "deberta" in type(model.encoder.backbone).__name__.lower():
        pytest.skip("transformers' DeBERTa asks for values itself")
    with Waits() as waits:
        task.objective_losses(model, batch).sum().backward()
    assert waits.seen == []


def test_a_corpus_on_an_accelerator_agrees_on_widths(task, monkeypatch):
    """By logic: what would be sent to it is made on the processor."""
    corpus = copy.copy(task.corpus)
    corpus.device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(
        "hpo_bench.tasks.text.corpus.fixed", lambda batch, limit, _, usual: fixed(batch, limit, CPU, usual)
    )
    for parts in ([corpus.draw_batch(48, drawn(5))], corpus.draw_parts(48, 24, drawn(5))):
        for one in parts:
            assert one.views["clean"].widths[:-1] == corpus.usual_widths(len(one))
