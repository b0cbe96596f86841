"""Batches as an accelerator has them, of one size and with sums in order: the same numbers as the processor's own."""

import pytest
import torch

from hpo_bench.core.captured import CapturedStep, described
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.molecule.padded import Sizes
from hpo_bench.tasks.objective import on_any_corpus
from tapweight.directional import directional_derivatives
from tapweight.evaluation import Evaluator, Layout, Passes
from tapweight.parts import trainable
from tests.tasks.molecule.padding import padded, sizes_of

ENCODER = {"layers": 3, "width": 16}
IONS = ["[Na+]", "C", "CC", "[Cl-].[Na+]", "C1CC1"]  # molecules without bonds; many edges to an atom


def drawn(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def smiles(bace):
    return [*bace[0][:70], *IONS]


@pytest.fixture
def corpus(smiles):
    return MoleculeCorpus(smiles, on_any_corpus(OBJECTIVES), encoder=ENCODER)


@pytest.fixture
def there(smiles):
    """The same corpus as an accelerator has it."""
    corpus = MoleculeCorpus(smiles, on_any_corpus(OBJECTIVES), encoder=ENCODER)
    corpus.packed.in_order = True
    return corpus


def trained(corpus, batch, dtype=torch.float64):
    model = corpus.build_model().to(dtype).train()
    losses = corpus.objective_losses(model, batch)
    losses.sum().backward()
    return model, losses.detach()


@pytest.mark.parametrize("size", [2, 24, 75])
def test_padding_changes_no_loss_no_gradient_and_no_running_statistic(corpus, there, size):
    ours, theirs = corpus.draw_batch(size, drawn(1)), there.draw_batch(size, drawn(1))
    assert torch.equal(ours.index, theirs.index.long())
    assert theirs.sizes.atoms > ours.views["clean"].num_atoms
    (model, losses), (other, same) = trained(corpus, ours), trained(there, theirs)
    assert torch.allclose(losses, same, rtol=1e-12, atol=1e-12)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12), name
    for a, b in zip(model.buffers(), other.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6)  # counts of atoms are float32


def test_how_much_padding_there_is_changes_nothing(there):
    raw = there.batch_of(torch.arange(20), drawn(2))
    sizes = sizes_of(raw)
    found = []
    for spare in (1, 10, 300):
        batch = padded(raw, Sizes(*(size + spare for size in sizes)), there.packed)
        model, losses = trained(there, batch)
        found.append((losses, model.encoder.atom_embedding.grad))
    for losses, gradient in found[1:]:
        assert torch.allclose(losses, found[0][0], rtol=1e-12)
        assert torch.allclose(gradient, found[0][1], rtol=1e-9, atol=1e-13)


def test_a_batch_in_which_no_bond_is_hidden_has_no_loss_of_bonds(smiles):
    corpus = MoleculeCorpus(["C", "[Na+]", "N"], ("bond", "atom"), encoder=ENCODER)
    corpus.packed.in_order = True
    model, losses = trained(corpus, corpus.draw_batch(3, drawn(0)))
    assert losses[0] == 0
    assert torch.isfinite(model.encoder.atom_embedding.grad).all()


def test_derivatives_of_every_kind_are_those_of_the_processor(corpus, there):
    ours, theirs = corpus.draw_batch(16, drawn(3)), there.draw_batch(16, drawn(3))
    found = []
    for one, batch in ((corpus, ours), (there, theirs)):
        model = one.build_model().double().train()
        values = {name: value.detach() for name, value in trainable(model).items()}
        layout = Layout(values)
        evaluate = Evaluator(model, one.objective_losses, [batch], level="pretrain", passes=Passes(), seed=0)
        direction = torch.randn(layout.size, generator=drawn(4), dtype=torch.float64)
        forward = directional_derivatives(evaluate, layout, values, direction, how="jvp")[0]
        at = [value.requires_grad_() for value in values.values()]
        first = torch.autograd.grad(evaluate(values, 0).sum(), at, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(first, layout.unflatten(direction).values(), strict=True))
        second = layout.flatten(torch.autograd.grad(along, at))
        found.append((forward, second))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10)


def test_evaluation_in_order_is_that_of_the_processor(corpus, there):
    model = corpus.build_model().double().eval()
    for a, b in zip(*(model.encoder(c.packed.batch(torch.arange(60))) for c in (corpus, there)), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)


def test_batches_have_one_layout_and_one_piece(there):
    batches = [there.draw_batch(16, drawn(seed)) for seed in range(12)]
    assert len({described(batch)[0] for batch in batches}) == 1
    places = {t.untyped_storage().data_ptr() for t in described(batches[0])[1]}
    tables = {t.untyped_storage().data_ptr() for t in (there.packed.atom_table, there.packed.bond_table)}
    assert len(places - tables) == 1


def test_a_batch_that_is_larger_than_usual_gets_a_size_of_its_own(there):
    large = there.packed._atom_count.argsort(descending=True)[:16]
    lots = there.batch_at(large, drawn(0))
    assert not there._sizes(16).hold(lots.sizes)
    assert lots.sizes.atoms > int(there.packed._atom_count[large].sum())


def test_captured_steps_are_the_eager_ones(there):
    """With a stand-in for the capture: the closure that a graph would repeat, on the addresses that it would use."""
    ends = []
    for capture in (None, lambda run: run):
        trainer = Pretrainer(there, Protocol(batch_size=16), 0, CostMeter(16, there.device))
        step = trainer._captured = None if capture is None else CapturedStep(trainer._body, capture)
        weights = torch.full((len(there.objectives),), 1 / len(there.objectives))
        for number in range(8):
            losses = trainer.step(weights, trainer.draw_batch(number))
        ends.append((losses, *trainer.model.state_dict().values()))
    assert step.replays == 7
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_no_pass_takes_a_sum_in_an_order_of_its_own(there):
    """Additions into a common place are what CUDA takes in any order; what reads rows must not add up so backward."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Additions(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            if name.startswith(("index_add", "scatter", "index_put", "_embedding_bag_backward", "cumsum", "bincount")):
                self.seen.append(name)
            return func(*args, **(kwargs or {}))

    batch, model = there.whole(there.draw_batch(16, drawn(0))), there.build_model().train()
    with Additions() as additions:
        there.objective_losses(model, batch).sum().backward()
    assert additions.seen == []


def test_padding_is_not_billed(corpus, there):
    found = []
    for one in (corpus, there):
        meter, model = CostMeter(16, one.device), one.build_model().eval()
        batch = one.draw_batch(16, drawn(5))
        meter.calibrate("pretraining", 16, lambda one=one, model=model, batch=batch: one.objective_losses(model, batch))
        with torch.no_grad():
            found.append((meter.flops_per_sample["pretraining"], one.objective_losses(model, batch)))
    assert found[0][0] == found[1][0] > 0
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-5)
