"""The corpus as a whole: determinism, subsets of objectives, derivatives, and the base checkpoint."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.func import functional_call, jvp
from torch.utils._pytree import tree_leaves

from hpo_bench.errors import UserError
from hpo_bench.tasks.molecule import MoleculeCorpus, Splits, build_task, load_base, save_base
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.molecule.objectives.base import MASKED
from hpo_bench.tasks.molecule.packed import Graphs
from hpo_bench.tasks.objective import CLEAN, on_any_corpus

EVERY = on_any_corpus(OBJECTIVES)
SMALL = {"layers": 2, "width": 16}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_batch_and_losses_are_repeated_by_repeating_the_seed(corpus):
    a, b, other = (corpus.draw_batch(32, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.index, b.index)
    assert not torch.equal(a.index, other.index)
    for these, those in ((a.joint, b.joint), (a.views[CLEAN], b.views[CLEAN]), (a.views[MASKED], b.views[MASKED])):
        one, same = (
            [leaf for leaf in tree_leaves([getattr(graphs, f.name) for f in fields(Graphs)]) if torch.is_tensor(leaf)]
            for graphs in (these, those)
        )
        assert len(one) >= 8
        assert all(map(torch.equal, one, same))
    first, second = (corpus.objective_losses(corpus.build_model(), batch) for batch in (a, b))
    assert torch.equal(first, second)


def test_dropout_draws_from_the_global_generator_alone(bace, molecules):
    corpus = MoleculeCorpus(bace[0], EVERY, encoder={**SMALL, "dropout": 0.2}, molecules=molecules)
    batch, losses = corpus.draw_batch(32, seeded(0)), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(corpus.objective_losses(corpus.build_model(), batch))
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_build_model_is_always_the_same_and_leaves_the_global_generator_alone(corpus):
    before = torch.get_rng_state()
    first, second = corpus.build_model().state_dict(), corpus.build_model().state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_batch_has_no_molecule_twice_and_at_most_the_whole_corpus(corpus):
    assert len(corpus.draw_batch(64, seeded(0)).index.unique()) == 64
    assert len(corpus.draw_batch(1000, seeded(0))) == len(corpus)


@pytest.mark.parametrize("chosen", [("contrast", "atom"), ("motif",), ("bond",), ("noise", "descriptor", "cluster")])
def test_an_objective_does_not_depend_on_which_others_are_on(bace, molecules, corpus, chosen):
    subset = MoleculeCorpus(bace[0], chosen, encoder=SMALL, molecules=molecules, clusters=10)
    model, batch = subset.build_model(), subset.draw_batch(32, seeded(3))
    losses = subset.objective_losses(model, batch)
    every = corpus.objective_losses(corpus.build_model(), corpus.draw_batch(32, seeded(3)))
    torch.testing.assert_close(losses, every[[EVERY.index(name) for name in chosen]])
    assert set(model.heads) == set(chosen)
    assert len(batch.joint.views) == (2 if "contrast" in chosen else 1)


def test_all_directional_derivatives_come_from_one_jvp(corpus):
    model, batch = corpus.build_model().double(), corpus.draw_batch(24, seeded(0))
    parameters = {f"model.{k}": p for k, p in model.named_parameters()}
    direction = {k: torch.randn_like(p) for k, p in parameters.items()}
    shell = Losses(corpus, model, batch)
    losses, tangents = jvp(
        lambda p: functional_call(shell, {**p, **copied_buffers(model)}, ()),
        ({k: p.detach() for k, p in parameters.items()},),
        (direction,),
    )
    for i, loss in enumerate(corpus.objective_losses(model, batch)):
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        pairs = zip(gradients, direction.values(), strict=True)
        expected = sum((g * v).sum() for g, v in pairs if g is not None)
        torch.testing.assert_close(tangents[i], expected, rtol=1e-6, atol=1e-8)
        assert loss.item() == pytest.approx(losses[i].item())


def test_tangents_keep_the_type_of_the_parameters(corpus):
    model, batch = corpus.build_model(), corpus.draw_batch(8, seeded(0))
    parameters = {f"model.{k}": p.detach() for k, p in model.named_parameters()}
    shell = Losses(corpus, model, batch)
    _, tangents = jvp(
        lambda p: functional_call(shell, {**p, **copied_buffers(model)}, ()), (parameters,), (parameters,)
    )
    assert tangents.dtype is torch.float32


def test_hessian_vector_product_of_the_weighted_losses(corpus):
    model, batch = corpus.build_model().double(), corpus.draw_batch(16, seeded(0))
    parameters = list(model.parameters())
    direction = [torch.randn_like(p) for p in parameters]

    def gradient():
        return torch.autograd.grad(corpus.objective_losses(model, batch).sum(), parameters, create_graph=True)

    slope = sum((g * v).sum() for g, v in zip(gradient(), direction, strict=True))
    product = torch.autograd.grad(slope, parameters)
    curvature = sum((h * v).sum() for h, v in zip(product, direction, strict=True))
    step, slopes = 1e-6, []
    for move in (step, -2 * step):
        with torch.no_grad():
            for p, v in zip(parameters, direction, strict=True):
                p.add_(v, alpha=move)
        slopes.append(sum((g * v).sum() for g, v in zip(gradient(), direction, strict=True)).item())
    assert curvature.item() == pytest.approx((slopes[0] - slopes[1]) / (2 * step), rel=1e-3)


def test_training_learns_every_objective_but_noise(corpus):
    """The real objective is learnable: 60 steps bring each loss on molecules of the corpus below its start."""
    model = corpus.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    held = corpus.draw_batch(128, seeded(99))
    with torch.no_grad():
        start = corpus.objective_losses(model, held)
    for step in range(60):
        optimizer.zero_grad()
        corpus.objective_losses(model, corpus.draw_batch(64, seeded(step))).sum().backward()
        optimizer.step()
    with torch.no_grad():
        end = corpus.objective_losses(model, held)
    gains = dict(zip(EVERY, (start - end).tolist(), strict=True))
    assert all(gain > 0.05 for name, gain in gains.items() if name != "noise"), gains


def test_base_round_trip(tmp_path, bace, molecules, corpus):
    path = tmp_path / "base.safetensors"
    model = corpus.build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    digest = save_base(path, model, corpus.statistics, {**corpus.metadata, "losses": [0.5] * 7})
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode, "others may read it, too"
    base = load_base(path)
    assert base.sha256 == digest
    assert base.metadata["losses"] == [0.5] * 7
    again = MoleculeCorpus(bace[0][:50], ("descriptor", "cluster"), base=path)
    assert again.encoder_config == corpus.encoder_config
    assert (again.statistics.centroids == corpus.statistics.centroids).all()
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.build_model().state_dict().items())
    assert again.fresh_heads == ()


def test_a_planted_objective_gets_a_fresh_head_and_damage_is_named(tmp_path, bace, corpus):
    path = tmp_path / "base.safetensors"
    five = MoleculeCorpus(bace[0][:50], EVERY[:5], encoder=SMALL, clusters=10)
    save_base(path, five.build_model(), five.statistics, five.metadata)
    assert MoleculeCorpus(bace[0][:50], ("atom", "noise"), base=path).fresh_heads == ("noise",)
    with pytest.raises(UserError, match="leave the encoder's shape out"):
        MoleculeCorpus(bace[0][:50], base=path, encoder={"layers": 3})

    model = five.build_model()
    del model.heads["atom"]
    model.extra = torch.nn.Linear(2, 2)
    save_base(path, model, five.statistics, five.metadata)
    with pytest.raises(UserError, match=r"missing: heads.atom.bias.*unexpected: extra.bias"):
        MoleculeCorpus(bace[0][:50], ("atom", "bond"), base=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a safetensors file"):
        load_base(path)
    with pytest.raises(UserError, match="no base checkpoint at"):
        load_base(tmp_path / "absent")


def test_nothing_is_computed_that_no_objective_reads(tmp_path, bace, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hpo_bench.tasks.molecule.corpus.featurise",
        lambda smiles, kinds: asked.append((len(smiles), kinds)) or featurise(smiles, kinds),
    )
    splits = Splits(np.arange(40), np.arange(40, 60), np.arange(60, 80))
    labels = np.arange(80.0)[:, None]

    def build(*objectives, **options):
        build_task(
            "mine", bace[0][:80], labels, splits, kind="regression", metric="rmse", objectives=objectives, **options
        )

    build("atom", "contrast", encoder=SMALL)
    build("motif", "noise", "descriptor", encoder=SMALL)  # of the train molecules alone
    assert asked == [(40, ()), (40, ("motif", "descriptor"))]
    corpus = MoleculeCorpus(bace[0][:40], ("atom", "motif"), encoder=SMALL)
    save_base(tmp_path / "base", corpus.build_model(), corpus.statistics, corpus.metadata)
    for unfitted in ("cluster", "descriptor"):
        with pytest.raises(UserError, match="made without an objective that reads them"):
            build("atom", unfitted, base=tmp_path / "base")


def copied_buffers(model):
    """Batch norm writes to its buffers, which a transform allows for tensors of its own alone."""
    return {f"model.{name}": buffer.clone() for name, buffer in model.named_buffers()}


class Losses(torch.nn.Module):
    """Lets `functional_call` reach `objective_losses`."""

    def __init__(self, corpus, model, batch):
        super().__init__()
        self.corpus, self.model, self.batch = corpus, model, batch

    def forward(self):
        return self.corpus.objective_losses(self.model, self.batch)
