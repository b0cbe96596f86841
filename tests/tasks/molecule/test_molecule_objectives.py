"""Each loss against a value worked out by hand; what a view hides stays hidden; the best constant predictor has 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hpo_bench.errors import UserError
from hpo_bench.tasks.molecule import MoleculeCorpus
from hpo_bench.tasks.molecule.corpus import choose_atoms
from hpo_bench.tasks.molecule.featurise import featurise_chunk
from hpo_bench.tasks.molecule.objectives import OBJECTIVES, CorpusData, Embedded, MoleculeBatch, Objective
from hpo_bench.tasks.molecule.objectives.base import MASKED
from hpo_bench.tasks.molecule.packed import PackedMolecules
from hpo_bench.tasks.molecule.targets import Statistics
from hpo_bench.tasks.objective import CLEAN, on_any_corpus
from hpo_bench.tasks.planted import noise_labels

EVERY = on_any_corpus(OBJECTIVES)
SMALL = {"layers": 2, "width": 16}


@pytest.fixture
def tiny():
    """Ethanol, propene and ammonia, the middle atom of the first and the double bond of the second hidden."""
    return MoleculeCorpus(["CCO", "CC=C", "N"], EVERY, encoder=SMALL, clusters=3)


@pytest.fixture
def batch(tiny):
    index = torch.arange(3)
    graphs = tiny.packed.batch(index)
    double = [i for i, (s, d) in enumerate(zip(graphs.source, graphs.destination, strict=True)) if (s, d) == (4, 5)]
    hidden = torch.zeros(7, dtype=torch.bool)
    hidden[1] = True
    views = {CLEAN: graphs, MASKED: graphs.masked(hidden, torch.zeros(len(graphs.source), dtype=torch.bool))}
    return MoleculeBatch(index, views, torch.tensor([1]), torch.tensor(double))


def objective(corpus: MoleculeCorpus, name: str) -> Objective:
    (found,) = (kind for kind in corpus._objectives if kind.name == name)
    return found


def both(nodes: torch.Tensor | None = None, graphs: torch.Tensor | None = None) -> dict[str, Embedded]:
    nodes, graphs = (torch.zeros(0) if t is None else t for t in (nodes, graphs))
    return {view: Embedded(nodes, graphs) for view in (CLEAN, MASKED)}


def test_atom_by_hand(tiny, batch):
    nodes = torch.zeros(7, 119)
    nodes[1, 6] = 2.0  # the hidden atom is carbon
    found = objective(tiny, "atom").loss(nn.Identity(), both(nodes), batch)
    assert found.item() == pytest.approx(math.log(math.exp(2) + 118) - 2, rel=1e-5)
    shares = np.array([5, 1, 1]) / 7  # C, O, N
    assert objective(tiny, "atom").baseline_loss == pytest.approx(-(shares * np.log(shares)).sum())


def test_bond_by_hand(tiny, batch):
    nodes = torch.zeros(7, 10)  # 5 types, 5 stereo categories
    nodes[4, 1], nodes[5, 1], nodes[5, 5] = 1.0, 2.0, 0.5  # double: 1 + 2; no stereo: 0.5
    found = objective(tiny, "bond").loss(nn.Identity(), both(nodes), batch)
    expected = math.log(math.exp(3) + 4) - 3 + math.log(math.exp(0.5) + 4) - 0.5
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert objective(tiny, "bond").baseline_loss == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) + 0.05
    )


def test_bond_without_a_hidden_bond_is_zero_with_a_gradient(tiny, batch):
    nothing = MoleculeBatch(batch.index, batch.views, batch.masked_atoms, batch.masked_edges[:0])
    nodes = torch.zeros(7, 10, requires_grad=True)
    found = objective(tiny, "bond").loss(nn.Identity(), both(nodes), nothing)
    found.backward()
    assert found.item() == 0
    assert nodes.grad.abs().max() == 0


def test_motif_by_hand(tiny, batch):
    logits = torch.full((3, 85), 1.0)
    labels = tiny._objectives[EVERY.index("motif")].labels
    ones = float(labels.sum())
    expected = (ones * math.log(1 + math.exp(-1)) + (255 - ones) * math.log(1 + math.exp(1))) / 255
    found = objective(tiny, "motif").loss(nn.Identity(), both(graphs=logits), batch)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_cluster_and_noise_by_hand(tiny, batch):
    for name, classes in (("cluster", 3), ("noise", 100)):
        kind = objective(tiny, name)
        logits = torch.zeros(3, classes)
        logits[0, kind.labels[0]] = 1.0
        expected = (math.log(math.e + classes - 1) - 1 + 2 * math.log(classes)) / 3
        assert kind.loss(nn.Identity(), both(graphs=logits), batch).item() == pytest.approx(expected, rel=1e-5)
    assert objective(tiny, "noise").baseline_loss == pytest.approx(math.log(100))


def test_descriptor_by_hand(tiny, batch):
    kind = objective(tiny, "descriptor")
    found = kind.loss(nn.Identity(), both(graphs=kind.scores + 0.5), batch)
    assert found.item() == pytest.approx(0.25, rel=1e-5)


def test_contrast_by_hand(tiny, batch):
    clean = torch.tensor([[2.0, 0, 0], [0, 3.0, 0], [0, 0, 1.0]])
    views = {CLEAN: Embedded(torch.zeros(0), clean), MASKED: Embedded(torch.zeros(0), clean[[0, 2, 1]])}
    found = objective(tiny, "contrast").loss(nn.Identity(), views, batch)
    matched, swapped = math.log(math.exp(10) + 2) - 10, math.log(math.exp(10) + 2)  # cosine 1 over temperature 0.1
    assert found.item() == pytest.approx((matched + 2 * swapped) / 3 / math.log(3), rel=1e-5)
    same = objective(tiny, "contrast").loss(nn.Identity(), both(graphs=torch.ones(3, 3)), batch)
    assert same.item() == pytest.approx(1.0, rel=1e-5)


def test_chance_is_one(corpus, generator):
    """Heads that see nothing: their fresh bias is the best constant predictor, so every loss is about 1."""
    model = corpus.build_model().eval()
    for name, head in model.heads.items():
        if name != "contrast":
            nn.init.zeros_(head.weight)
    for parameter in model.heads["contrast"].parameters():
        nn.init.ones_(parameter)
    batch = corpus.draw_batch(300, generator)
    losses = dict(zip(EVERY, corpus.objective_losses(model, batch).tolist(), strict=True))
    assert losses.pop("atom") == pytest.approx(1.0, abs=0.1)  # hidden atoms are a sample of the atoms
    assert losses.pop("bond") == pytest.approx(1.0, abs=0.1)
    assert losses.pop("noise") == pytest.approx(1.0, abs=0.1)
    assert losses.pop("contrast") < 1.5  # a constant embedding gives exactly 1; see the test by hand
    for name, loss in losses.items():
        assert loss == pytest.approx(1.0, abs=0.03), name


def test_hidden_atoms_and_bonds_cannot_be_seen():
    """Two molecules that differ behind the mask alone have the same masked embedding, and differ in the clean one."""
    corpora = [MoleculeCorpus([text], ("atom", "bond"), encoder=SMALL) for text in ("CCCC=O", "CCCCN")]
    state, answers = corpora[0].build_model().state_dict(), {CLEAN: [], MASKED: []}
    for corpus in corpora:
        model = corpus.build_model()
        model.load_state_dict({k: v for k, v in state.items() if k.startswith("encoder")}, strict=False)
        graphs = corpus.packed.batch(torch.tensor([0]))
        hidden = torch.tensor([False, False, False, True, True])
        edges = hidden[graphs.source] | hidden[graphs.destination]
        for view, seen in ((CLEAN, graphs), (MASKED, graphs.masked(hidden, edges))):
            answers[view].append(model.eval().encoder(seen)[0])
    assert torch.equal(*answers[MASKED])
    assert not torch.allclose(*answers[CLEAN])


def test_bonds_of_hidden_atoms_are_hidden_and_predicted_once(corpus, generator):
    batch = corpus.draw_batch(64, generator)
    clean, masked = batch.views[CLEAN], batch.views[MASKED]
    hidden = torch.zeros(clean.num_atoms, dtype=torch.bool)
    hidden[batch.masked_atoms] = True
    touched = hidden[clean.source] | hidden[clean.destination]
    assert ((masked.bond_code == len(corpus.packed.bond_values) - 1) == touched).all()
    assert 2 * len(batch.masked_edges) == int(touched.sum())


def test_share_of_hidden_atoms(corpus, generator):
    graphs = corpus.packed.batch(torch.arange(100))
    chosen = choose_atoms(graphs, torch.rand(graphs.num_atoms, generator=generator))
    hidden = torch.bincount(graphs.molecule[chosen], minlength=100)
    assert hidden.tolist() == [1 + int(0.15 * size) for size in graphs.sizes.squeeze(1).tolist()]
    assert len(chosen.unique()) == len(chosen)


def test_every_atom_is_hidden_equally_often(generator):
    graphs = PackedMolecules(featurise_chunk(["CCCCC"])).batch(torch.zeros(4000, dtype=torch.int64))
    chosen = choose_atoms(graphs, torch.rand(graphs.num_atoms, generator=generator))
    counts = torch.bincount(chosen % 5, minlength=5)
    assert (counts - 800).abs().max() < 4 * math.sqrt(4000 * 0.2 * 0.8)


def test_noise_does_not_depend_on_the_molecules(bace, molecules):
    shuffled = molecules.take(np.arange(300)[::-1])
    labels = [
        OBJECTIVES["noise"](
            CorpusData(
                size=len(m),
                device=torch.device("cpu"),
                seed=0,
                molecules=m,
                packed=PackedMolecules(m),
                statistics=Statistics.fit(m, 5),
            )
        ).labels
        for m in (molecules, shuffled)
    ]
    assert torch.equal(*labels)
    assert labels[0].tolist() == noise_labels(300).tolist()


def test_every_objective_pulls_at_the_encoder(corpus, generator):
    model = corpus.build_model()
    losses = corpus.objective_losses(model, corpus.draw_batch(32, generator))
    for name, loss in zip(EVERY, losses, strict=True):
        gradient = torch.autograd.grad(loss, model.encoder.layers[0].first.weight, retain_graph=True)[0]
        assert gradient.abs().max() > 1e-6, name


def test_unknown_and_repeated_names_are_user_errors():
    with pytest.raises(UserError, match="atom"):
        MoleculeCorpus(["CCO"], ("atoms",))
    with pytest.raises(UserError, match="twice"):
        MoleculeCorpus(["CCO"], ("atom", "atom"))
    with pytest.raises(UserError, match="no objective"):
        MoleculeCorpus(["CCO"], ())


def test_a_new_objective_is_one_class_and_one_entry(bace, molecules, monkeypatch, generator):
    class Size(Objective):
        """Predict the number of atoms."""

        name, paper, baseline_loss = "size", "none", 1.0

        def build_head(self, width):
            return nn.Linear(width, 1)

        def loss(self, head, embedded, batch):
            return ((head(embedded[CLEAN].graphs) - batch.views[CLEAN].sizes) ** 2).mean()

    monkeypatch.setitem(OBJECTIVES, "size", Size)
    corpus = MoleculeCorpus(bace[0], ("size", "atom"), encoder=SMALL, molecules=molecules)
    losses = corpus.objective_losses(corpus.build_model(), corpus.draw_batch(16, generator))
    assert losses.shape == (2,)
    assert losses[0] > 10
