"""Classes of equal atoms against brute force, and an encoder on classes against the encoder on every atom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import functional_call, jvp

from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.tasks.molecule import refinement
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.featurise import featurise_chunk
from hpo_bench.tasks.molecule.gin import Encoder
from hpo_bench.tasks.molecule.layer_rows import Incidence
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.molecule.packed import PackedMolecules, joined
from hpo_bench.tasks.molecule.refinement import Refinement, refined
from hpo_bench.tasks.objective import CLEAN, on_any_corpus

DEPTH = 3


def some(packed, masked):
    """64 molecules, with a fifth of the atoms and of the edges hidden or none."""
    graphs, random = packed.batch(torch.arange(64)), torch.Generator().manual_seed(0)
    if not masked:
        return graphs
    atoms, edges = (torch.rand(len(t), generator=random) < 0.2 for t in (graphs.atom_code, graphs.bond_code))
    return graphs.masked(atoms, edges)


@pytest.fixture(params=[False, True], ids=["clean", "masked"])
def graphs(molecules, request):
    return some(PackedMolecules(molecules), request.param)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    built = Encoder(layers=DEPTH, width=16)
    for norm in built.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return built.double()


def colours(graphs, depth):
    """Surroundings of every atom as nested tuples."""
    found = [(code,) for code in graphs.atom_code.tolist()]
    for _ in range(depth):
        around = [[] for _ in found]
        edges = zip(graphs.source.tolist(), graphs.destination.tolist(), graphs.bond_code.tolist(), strict=True)
        for source, destination, bond in edges:
            around[destination].append((found[source], bond))
        found = [(own, tuple(sorted(those))) for own, those in zip(found, around, strict=True)]
    return found


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_classes_are_those_of_equal_surroundings(graphs, depth):
    atom, counts = (
        refined(graphs, depth).encoder_rows.atom.tolist(),
        refined(graphs, depth).encoder_rows.layers[-1].counts,
    )
    expected = colours(graphs, depth)
    assert len(set(zip(atom, expected, strict=True))) == len(set(atom)) == len(set(expected)) < len(atom)
    assert counts.tolist() == [atom.count(row) for row in range(len(counts))]


def dense(incidence):
    """The matrix, from its rows and from its columns."""
    columns, ends, rows, row_ends = incidence
    matrices = []
    for places, limits, width in ((columns, ends, len(row_ends) - 1), (rows, row_ends, len(ends) - 1)):
        matrix = torch.zeros(len(limits) - 1, width)
        for row, (start, end) in enumerate(pairwise(limits.tolist())):
            matrix[row] += torch.bincount(places[start:end], minlength=width)
        matrices.append(matrix)
    return matrices[0], matrices[1].T


def test_levels_have_few_shapes_and_no_message_is_computed_twice(graphs):
    for level in refined(graphs, DEPTH).encoder_rows.layers:
        assert len(level.own) == len(level.counts)
        assert len(level.own) % 64 == 0
        pairs = list(zip(level.neighbour.tolist(), level.bond_code.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs) < len(level.messages.columns)
        torch.testing.assert_close(*dense(level.messages))


def test_products_of_an_incidence_have_all_derivatives():
    columns, ends = torch.tensor([1, 1, 0, 3]), torch.tensor([0, 2, 2, 4])
    rows, row_ends = torch.tensor([2, 0, 0, 2]), torch.tensor([0, 1, 3, 3, 4])
    incidence = Incidence(columns, ends, rows, row_ends)
    matrix, terms = dense(incidence)[0].double(), torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(incidence.sums(terms), matrix @ terms)

    def cubed(terms):
        return incidence.sums(terms) ** 3

    assert torch.autograd.gradcheck(cubed, terms, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(cubed, terms, check_fwd_over_rev=True)


def test_equal_numbers_find_each_other_in_a_crowded_table():
    """Small numbers all want the first slot."""
    for key in (np.arange(50) % 7, np.random.default_rng(0).integers(0, 30, 200) << 60, np.zeros(0, np.int64)):
        place = refinement._equal(key)
        assert (key[place] == key).all()
        assert len(np.unique(place)) == len(np.unique(key))


def outcome(encoder, graphs):
    """Embeddings, buffers afterwards, and gradients of a function of both embeddings."""
    encoder.zero_grad()
    nodes, pooled = encoder(graphs)
    (nodes.sin().sum() + pooled.square().sum()).backward()
    return [
        nodes.detach(),
        pooled.detach(),
        *[buffer.clone() for buffer in encoder.buffers()],
        *[parameter.grad.clone() for parameter in encoder.parameters()],
    ]


@pytest.mark.parametrize("training", [False, True])
def test_an_encoder_on_classes_equals_the_encoder_on_atoms(encoder, graphs, training):
    encoder.train(training)
    start = {name: value.clone() for name, value in encoder.state_dict().items()}
    expected = outcome(encoder, graphs)
    encoder.load_state_dict(start)
    for a, b in zip(outcome(encoder, refined(graphs, DEPTH)), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("finds_classes", [False, True])
def test_views_that_pass_together_are_those_that_pass_alone(encoder, molecules, finds_classes):
    """Embeddings, running statistics and gradients; the same molecules twice, hidden and whole."""
    packed, start = PackedMolecules(molecules), {name: value.clone() for name, value in encoder.state_dict().items()}
    views = [some(packed, masked=True), some(packed, masked=False)]
    encoder.train()

    def ends(each):
        encoder.load_state_dict(start)
        encoder.zero_grad()
        embedded = [tensor for both in each() for tensor in both]
        sum(tensor.sin().sum() for tensor in embedded).backward()
        buffers = [buffer.clone() for buffer in encoder.buffers()]
        return [*embedded, *buffers, *[parameter.grad.clone() for parameter in encoder.parameters()]]

    joint = refined(joined(views), DEPTH) if finds_classes else joined(views)
    alone = ends(lambda: [encoder(view) for view in views])
    for a, b in zip(ends(lambda: encoder.each(joint)), alone, strict=True):
        torch.testing.assert_close(a, b)


def test_forward_mode_and_double_backward_are_those_on_atoms(encoder, graphs):
    encoder.train()
    parameters = {name: value.detach() for name, value in encoder.named_parameters()}
    torch.manual_seed(1)
    direction = {name: torch.randn_like(value) for name, value in parameters.items()}
    buffers = {name: value.clone() for name, value in encoder.named_buffers()}

    def value(given, view):
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        return functional_call(encoder, {**given, **copies}, (view,))[1].sin().sum()

    def product(view):
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        first = torch.autograd.grad(value(leaves, view), list(leaves.values()), create_graph=True)
        slope = sum((g * v).sum() for g, v in zip(first, direction.values(), strict=True))
        return torch.autograd.grad(slope, list(leaves.values()))

    tangents = [
        jvp(lambda p, v=view: value(p, v), (parameters,), (direction,)) for view in (graphs, refined(graphs, 3))
    ]
    torch.testing.assert_close(tangents[1], tangents[0])
    torch.testing.assert_close(product(refined(graphs, DEPTH)), product(graphs), rtol=1e-6, atol=1e-8)


def test_dropout_tells_equal_atoms_apart(graphs):
    torch.manual_seed(0)
    encoder = Encoder(layers=2, width=8, dropout=0.5).train()
    embedded = []
    for view in (graphs, refined(graphs, 2)):
        torch.manual_seed(1)
        embedded.append(encoder(view)[0])
    assert torch.equal(*embedded)


def test_a_lone_atom_and_molecules_without_bonds():
    graphs = PackedMolecules(featurise_chunk(["C", "C", "[Na+]", "CC"])).batch(torch.arange(4))
    assert refined(graphs, 2).encoder_rows.atom.tolist() == [0, 0, 1, 2, 2]
    alone = PackedMolecules(featurise_chunk(["C"])).batch(torch.tensor([0]))
    encoder = Encoder(layers=2, width=8).eval()
    torch.testing.assert_close(encoder(refined(alone, 2)), encoder(alone))


def test_masking_forgets_the_classes(graphs):
    nothing = torch.zeros(graphs.num_atoms, dtype=torch.bool), torch.zeros(len(graphs.source), dtype=torch.bool)
    assert refined(graphs, DEPTH).masked(*nothing).encoder_rows is None


def test_training_on_classes_is_training_on_atoms(bace):
    """In float64, where rounding has no time to grow, a whole training comes out the same."""
    ends = []
    for finds_classes in (True, False):
        corpus = MoleculeCorpus(bace[0][:60], on_any_corpus(OBJECTIVES), refine=finds_classes)
        model = corpus.build_model().double().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for step in range(15):
            batch = corpus.draw_batch(16, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            corpus.objective_losses(model, batch).sum().backward()
            optimizer.step()
        clean = model.eval().encoder(batch.views[CLEAN])
        ends.append([*clean, corpus.objective_losses(model, batch)])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_flops_on_the_bill_are_those_of_every_atom(bace):
    """What a processor saves depends on the batch's size and would make samples of one kind cost now this, now that."""
    counted = []
    for finds_classes in (True, False):
        corpus = MoleculeCorpus(bace[0][:60], ("atom", "contrast", "descriptor"), refine=finds_classes)
        meter = CostMeter(16, corpus.device)
        trainer = Pretrainer(corpus, Protocol(batch_size=16), 0, meter)
        assert (trainer.draw_batch(0).joint.encoder_rows is not None) is finds_classes
        trainer.run(WeightSchedule.constant([1 / 3] * 3), 1)
        counted.append(meter.total.flops)
    assert counted[0] == counted[1] > 0


def test_a_processor_refines(graphs):
    assert Refinement(DEPTH)(graphs).encoder_rows is not None
    assert Refinement(DEPTH, on=False)(graphs) is graphs
