"""Batches that the device puts together are those that the host puts together, bit for bit, from the same draws."""

import pytest
import torch

from hpo_bench.core.captured import described
from hpo_bench.core.micro_batches import MicroBatches, objective_losses
from hpo_bench.tasks.molecule.assembled import Needs, assembled, quotas
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus, choose_atoms
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.molecule.objectives.masking import MASK_RATE
from hpo_bench.tasks.molecule.padded import trimmed
from hpo_bench.tasks.objective import on_any_corpus
from hpo_bench.testing.devices import device_under_test
from tests.tasks.molecule.padding import padded, sizes_of

ENCODER = {"layers": 2, "width": 16}
IONS = ["[Na+]", "C", "CC", "[Cl-].[Na+]", "C1CC1"]


def drawn(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def there(bace):
    corpus = MoleculeCorpus(
        [*bace[0][:70], *IONS], on_any_corpus(OBJECTIVES), encoder=ENCODER, device=device_under_test()
    )
    corpus.packed.in_order = corpus.packed.host.in_order = True
    return corpus


def same(one, two):
    left, right = (described(batch)[1] for batch in (one, two))
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("rows", [[0], [70], [70, 71, 73], list(range(40)), list(range(75))])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_device_makes_what_the_host_makes(there, rows, seed):
    index = torch.tensor(rows)
    lots = there.batch_at(index, drawn(seed))
    same(assembled(lots, there.packed, MASK_RATE), padded(there.batch_of(index, drawn(seed)), lots.sizes, there.packed))


def test_parts_of_an_accelerator_are_the_batch(there):
    """The same molecules, the same hidden atoms, and losses that add up, each part at its own agreed size."""
    whole, parts = there.draw_batch(40, drawn(3)), MicroBatches(tuple(there.draw_parts(40, 12, drawn(3))))
    assert torch.equal(torch.cat([part.index for part in parts.parts]), whole.index)
    assert len({part.sizes for part in parts.parts}) == 1
    own = [i for i, name in enumerate(there.objectives) if name not in there.compares_rows]
    model = there.build_model().eval()
    expected = there.objective_losses(model, whole)[own]
    assert torch.allclose(objective_losses(there, model, parts)[own], expected, rtol=1e-4)


def test_without_hidden_atoms_too(bace):
    corpus = MoleculeCorpus(bace[0][:20], ("contrast",), encoder=ENCODER, device=device_under_test())
    corpus.packed.in_order = corpus.packed.host.in_order = True
    if corpus._needs_mask:
        pytest.skip("the objective hides atoms")
    lots = corpus.batch_at(torch.arange(9), drawn(0))
    host = padded(corpus.batch_of(torch.arange(9), drawn(0)), lots.sizes, corpus.packed)
    same(assembled(lots, corpus.packed, MASK_RATE), host)


def test_the_room_that_is_kept_holds_every_draw(there):
    needs = Needs(there.packed, MASK_RATE)
    for seed in range(40):
        index = torch.randperm(len(there), generator=drawn(seed))[: 1 + seed]
        have = sizes_of(there.batch_of(index, drawn(seed)))
        need = needs.of(index)
        assert tuple(need)[:3] == tuple(have)[:3]
        assert need.hidden_bonds >= have.hidden_bonds


def test_quotas_are_those_of_the_choice(there):
    raw = there.batch_of(torch.arange(75), drawn(0))
    atoms = raw.views["clean"].sizes.squeeze(1)
    clean = raw.views["clean"]
    lots = torch.rand(clean.num_atoms, generator=drawn(1))
    chosen = torch.bincount(clean.molecule[choose_atoms(clean, lots)].long(), minlength=75)
    assert torch.equal(quotas(atoms, MASK_RATE), chosen)


def test_losses_are_the_same_and_draws_have_one_layout(there):
    after = there.draw_batch(16, drawn(3))
    index = after.index.cpu().long()
    source = drawn(3)
    torch.randperm(len(there), generator=source)
    before = padded(there.batch_of(index, source), after.sizes, there.packed)
    model = there.build_model().train()
    assert torch.equal(there.objective_losses(model, before), there.objective_losses(model, after))
    assert len({described(there.draw_batch(16, drawn(seed)))[0] for seed in range(12)}) == 1
    plain = trimmed(assembled(after, there.packed, MASK_RATE))
    assert plain.views["clean"].num_atoms == int(there.packed.host._atom_count[after.index.cpu().long()].sum())
