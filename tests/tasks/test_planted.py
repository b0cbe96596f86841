"""What is planted: labels by lot, labels turned round, the true labels; in every modality that has what it takes."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hpo_bench.core.rng import generator
from hpo_bench.errors import UserError
from hpo_bench.tasks.image.task import build_image_task
from hpo_bench.tasks.molecule.task import Splits, build_task
from hpo_bench.tasks.objective import CorpusData, Truth
from hpo_bench.tasks.planted import PlantedHarm, PlantedNoise, PlantedOracle, noise_labels
from hpo_bench.tasks.targets import Binary, Classes, Regression

CPU = torch.device("cpu")
SMILES = ["CCO", "CCN", "CCC", "CCCl", "c1ccccc1", "c1ccncc1", "CC(=O)O", "CCOC", "CCS", "CCBr", "OCCO", "NCCN"]
SPLITS = Splits(np.arange(6), np.arange(6, 9), np.arange(9, 12))
YES_OR_NO = np.array([0, 1] * 6, dtype=float)


def corpus(labels=None, target=None, size=40):
    truth = None if labels is None else Truth(torch.as_tensor(labels, dtype=torch.float32), target)
    return CorpusData(size=size, device=CPU, seed=0, truth=truth)


class Read(nn.Module):
    """A head that answers with what it is given."""

    def forward(self, embedded):
        return embedded


def test_noise_is_at_chance_for_a_head_that_guesses_evenly():
    noise = PlantedNoise(corpus())
    loss = noise.loss_of(Read(), torch.zeros(40, 100), torch.arange(40))
    assert float(loss) == pytest.approx(math.log(100)) == noise.baseline_loss
    assert noise.labels.tolist() == noise_labels(40).tolist()


def test_the_harmful_loss_by_hand():
    harm = PlantedHarm(corpus([[0], [0], [1]], Binary(), size=3))
    embedded = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])  # cosines: 0 within the class, 1 and 0 across
    across = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert float(harm.loss_of(Read(), embedded, torch.arange(3))) == pytest.approx((math.log(2) + across) / 2)
    # Mixed classes cost less than separate ones.
    mixed = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    index = torch.arange(3)
    assert harm.loss_of(Read(), mixed, index) < harm.loss_of(Read(), apart, index)


@pytest.mark.parametrize(
    ("labels", "target"),
    [
        (np.eye(3)[[0, 1, 2, 2]], Classes()),
        ([[0.0], [1.0], [1.0], [float("nan")]], Binary()),
        ([[1.0], [2.0], [3.0], [9.0]], Regression(torch.tensor([[1.0], [2.0], [3.0], [9.0]]))),
    ],
)
def test_the_oracle_is_the_task_itself_in_units_of_the_best_constant(labels, target):
    data = corpus(labels, target, size=4)
    oracle = PlantedOracle(data)
    head = oracle.build_head(5)
    with torch.no_grad():
        head.weight.zero_()
    loss = oracle.loss_of(head, torch.randn(4, 5), torch.arange(4))
    assert float(loss.detach()) == pytest.approx(oracle.baseline_loss)
    assert F.relu(loss) == target.loss(head.bias.expand(4, -1), data.truth.labels)


def test_what_needs_labels_is_refused_without_them():
    for kind in (PlantedOracle, PlantedHarm):
        with pytest.raises(UserError, match="have no labels"):
            kind(corpus())
    with pytest.raises(UserError, match="not classes of one kind"):
        PlantedHarm(corpus([[1.0], [2.0]], Regression(torch.tensor([[1.0], [2.0]])), size=2))


@pytest.mark.parametrize("modality", ["molecule", "image"])
def test_molecules_and_their_drawings_can_be_planted_with_everything(modality):
    planted = ["noise", "harmful", "oracle"]
    common = {"kind": "classification", "metric": "roc_auc", "objectives": planted}
    if modality == "molecule":
        loaded = build_task("t", SMILES, YES_OR_NO, SPLITS, **common)
    else:
        tiny = {"widths": [4, 4, 4, 8], "depths": [1, 1, 1, 1]}
        loaded = build_image_task("t", SMILES, YES_OR_NO, SPLITS, image_size=32, encoder=tiny, **common)
    task = loaded.task
    model = task.build_model()
    losses = task.objective_losses(model, task.draw_batch(6, generator(task.draws_on, 0, "batch")))
    assert losses.shape == (3,)
    for place in range(3):
        gradients = torch.autograd.grad(losses[place], model.encoder.parameters(), retain_graph=True, allow_unused=True)
        assert any(g is not None and g.abs().max() > 0 for g in gradients), planted[place]


def test_molecules_that_are_not_the_tasks_own_have_no_oracle():
    options = {"kind": "classification", "metric": "roc_auc", "objectives": ["oracle"]}
    with pytest.raises(UserError, match="oracle cannot be planted"):
        build_task("t", SMILES, YES_OR_NO, SPLITS, corpus_smiles=["CCO", "CCC"], **options)
