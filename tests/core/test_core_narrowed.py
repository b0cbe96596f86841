"""Steps without what has weight 0: the same batches, the same gradient, and a bill of what went through the encoder."""

import numpy as np
import pytest
import torch

from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import generator
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.tasks.digits.task import load as digits
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus

SMILES = ["CCO", "c1ccccc1O", "CC(=O)NC1CCCCC1", "CCN(CC)C(=O)C", "C1CC1CBr", "OCC#N", "CC(C)Cl", "NCC(=O)O"] * 3
PASSES = {"atom": 1 / 2, "bond": 1 / 2, "motif": 1 / 2, "cluster": 1 / 2, "contrast": 1.0, "descriptor": 1 / 2}


@pytest.fixture(scope="module")
def molecules():
    return MoleculeCorpus(SMILES, encoder={"layers": 2, "width": 8}, clusters=3)


@pytest.fixture(scope="module")
def images():
    return digits(device=torch.device("cpu")).task


def gradients(task, name, size):
    """Loss and gradients of one objective's step in float64, as the core takes them."""
    model = task.build_model().double().train()
    batch = task.draw_batch(size, generator(task.draws_on, 0, "pretraining", 3))
    losses = task.objective_losses(model, to_double(batch))
    weights = torch.tensor([float(one == name) for one in task.objectives], dtype=torch.float64)
    torch.dot(weights, losses).backward()
    return losses.detach(), {key: value.grad for key, value in model.named_parameters()}


def to_double(batch):
    from hpo_bench.tasks.sending import replaced

    return replaced(batch, lambda tensor: tensor.double() if tensor.dtype == torch.float32 else tensor)


@pytest.mark.parametrize("kind", ["molecules", "images"])
def test_a_step_of_one_objective_has_the_gradient_of_a_step_of_all(kind, request):
    task = request.getfixturevalue(kind)
    for place, name in enumerate(task.objectives):
        whole, expected = gradients(task, name, 16)
        narrow, found = gradients(task.narrowed([name]), name, 16)
        assert narrow[place] == pytest.approx(float(whole[place]), rel=1e-12)
        assert (narrow[[other for other in range(len(whole)) if other != place]] == 0).all()
        assert any(one is not None and one.abs().max() > 0 for one in found.values())
        for key, gradient in expected.items():
            own = torch.zeros_like(gradient) if found[key] is None else found[key]
            assert torch.allclose(own, gradient, rtol=1e-9, atol=1e-13), key


@pytest.mark.parametrize("name", PASSES)
def test_the_same_molecules_and_masks_are_drawn(molecules, name):
    one, other = (
        task.draw_batch(8, generator(task.draws_on, 0, 1)) for task in (molecules, molecules.narrowed([name]))
    )
    assert torch.equal(one.index, other.index)
    assert torch.equal(one.masked_atoms, other.masked_atoms)
    assert torch.equal(one.masked_edges, other.masked_edges)


def test_the_same_targets_are_drawn_of_digits(images):
    whole = images.draw_batch(8, generator(images.draws_on, 0, 1))
    for name in images.objectives:
        own = images.narrowed([name]).draw_batch(8, generator(images.draws_on, 0, 1))
        assert list(own.targets) == [name]
        assert own.views.keys() <= whole.views.keys()
        assert all(torch.equal(view, whole.views[key]) for key, view in own.views.items())
        assert all(torch.equal(value, whole.targets[name][key]) for key, value in own.targets[name].items())


def test_a_step_is_billed_by_the_views_that_it_passes(molecules):
    assert {name: molecules.narrowed([name]).passes for name in molecules.objectives} == PASSES
    assert molecules.narrowed(["atom", "bond"]).passes == 1 / 2
    assert molecules.narrowed(["atom", "motif"]).passes == molecules.narrowed(molecules.objectives).passes == 1.0
    meter = CostMeter(8, torch.device("cpu"))
    flops = {}
    for name, share in PASSES.items():
        before = meter.snapshot()
        trainer = Pretrainer(molecules.narrowed([name]), Protocol(steps=4, batch_size=8), 0, meter)
        trainer.run(WeightSchedule.constant(np.eye(6)[molecules.objectives.index(name)]), 4)
        spent = meter.snapshot() - before
        assert spent.step_equivalents == pytest.approx(4 * 3 * share)
        flops[name] = spent.flops
    before = meter.snapshot()
    Pretrainer(molecules, Protocol(steps=4, batch_size=8), 0, meter).run(WeightSchedule.constant(np.ones(6) / 6), 4)
    spent = meter.snapshot() - before
    assert spent.step_equivalents == pytest.approx(12)
    assert flops["motif"] < 0.6 * spent.flops
    assert flops["contrast"] > 0.7 * spent.flops


def test_batch_norm_remembers_the_views_that_were_left_out(molecules):
    """After narrowed steps it knows one view; what `remember` shows it is what a whole step would have."""
    protocol, meter = Protocol(steps=40, batch_size=24, learning_rate=1e-12), CostMeter(24, torch.device("cpu"))
    weights = WeightSchedule.constant(np.eye(6)[0])

    def statistics(trainer):
        return torch.cat([one for key, one in trainer.model.named_buffers() if key.endswith("running_mean")])

    whole, narrow = (Pretrainer(task, protocol, 0, meter) for task in (molecules, molecules.narrowed(["atom"])))
    whole.run(weights, 40)
    narrow.run(weights, 40)
    apart = (statistics(whole) - statistics(narrow)).norm()
    parameters = [one.clone() for one in narrow.model.parameters()]
    before = meter.snapshot().step_equivalents
    narrow.remember(molecules, 8)
    assert meter.snapshot().step_equivalents - before == 8
    assert all(torch.equal(one, other) for one, other in zip(narrow.model.parameters(), parameters, strict=True))
    assert (statistics(whole) - statistics(narrow)).norm() < 0.25 * apart


def test_a_task_that_knows_nothing_of_it_passes_everything():
    from hpo_bench.testing.problems import quick_problem

    task = quick_problem().task
    assert task.narrowed(["signal"]) is task
    assert task.passes == 1.0
