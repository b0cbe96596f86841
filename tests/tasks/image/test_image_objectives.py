"""Each loss against a value worked out by hand; the best constant predictor has 1; losses fall in training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.tasks.image import ImageCorpus
from hpo_bench.tasks.image.objectives import OBJECTIVES, ImageBatch
from hpo_bench.tasks.image.objectives.clusters import cluster
from hpo_bench.tasks.image.views import JIGSAW, MASKED
from hpo_bench.tasks.objective import CLEAN, on_any_corpus

NARROW = {"widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
EVERY = on_any_corpus(OBJECTIVES)


def objective(corpus, name):
    (found,) = (kind for kind in corpus._objectives if kind.name == name)
    return found


def batch_of(order):
    return ImageBatch(torch.arange(len(order)), torch.tensor(order), {})


def test_clusters_by_hand(corpus):
    kind = objective(corpus, "cluster_100")
    logits = torch.zeros(3, kind.classes)
    logits[0, kind.labels[0]] = 1.0
    expected = (math.log(math.e + kind.classes - 1) - 1 + 2 * math.log(kind.classes)) / 3
    assert kind.loss(nn.Identity(), {JIGSAW: logits}, batch_of([0, 4, 0])).item() == pytest.approx(expected, rel=1e-5)
    shares = np.bincount(kind.labels) / len(corpus)
    assert kind.baseline_loss == pytest.approx(-(shares * np.log(shares)).sum())


def test_clusters_are_no_more_than_there_are_fingerprints(smiles, corpus):
    distinct = corpus.clusters["cluster_10000"]
    assert distinct == corpus.clusters["cluster_1000"] <= len(smiles)
    keys = np.eye(6, dtype=np.uint8)[[0, 1, 2, 3, 4, 5, 5]]
    labels = cluster(keys, 1000, 0)
    assert sorted(set(labels.tolist())) == list(range(6))
    assert labels[5] == labels[6]
    assert len(set(cluster(keys, 2, 0).tolist())) == 2


def test_jigsaw_by_hand(corpus):
    logits = torch.zeros(2, 101)
    logits[1, 7] = 2.0
    found = objective(corpus, "jigsaw").loss(nn.Identity(), {JIGSAW: logits}, batch_of([0, 7]))
    assert found.item() == pytest.approx((math.log(101) + math.log(math.exp(2) + 100) - 2) / 2, rel=1e-5)
    whole, other = 0.8 + 0.2 / 101, 0.2 / 101
    assert objective(corpus, "jigsaw").baseline_loss == pytest.approx(
        -whole * math.log(whole) - 100 * other * math.log(other)
    )


def test_mask_contrast_by_hand(corpus):
    clean, masked = torch.tensor([[0.0, 3.0], [1.0, 1.0]]), torch.tensor([[4.0, 0.0], [1.0, 1.0]])
    kind = objective(corpus, "mask_contrast")
    assert kind.loss(nn.Identity(), {CLEAN: clean, MASKED: masked}, batch_of([0, 0])).item() == pytest.approx(2.5)
    masked.requires_grad_()
    kind.loss(nn.Identity(), {CLEAN: clean, MASKED: masked}, batch_of([0, 0])).backward()
    assert torch.isfinite(masked.grad).all(), "also where the two coincide"


def test_rationality_by_hand(corpus):
    jigsaw, clean = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    found = objective(corpus, "rationality").loss(nn.Identity(), {JIGSAW: jigsaw, CLEAN: clean}, batch_of([3, 0]))
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.e)  # a shuffled image is class 0
    assert found.item() == pytest.approx((right + wrong) / 2 + (right + math.log(2)) / 2, rel=1e-5)


def test_chance_is_one(corpus):
    """Heads that see nothing: their fresh bias is the best constant predictor, so every loss with a head is about 1."""
    model = corpus.build_model().eval()
    for name, head in model.heads.items():
        if name != "mask_contrast":
            nn.init.zeros_(head.weight)
    draws = [corpus.draw_batch(60, torch.Generator().manual_seed(seed)) for seed in range(20)]
    with torch.no_grad():
        losses = torch.stack([corpus.objective_losses(model, batch) for batch in draws]).mean(0)
    for name, loss in zip(EVERY, losses.tolist(), strict=True):
        if name != "mask_contrast":  # it has no head: 1 is the distance to another molecule
            assert loss == pytest.approx(1.0, abs=0.1), name


def test_chance_of_mask_contrast_is_the_distance_to_another_molecule(corpus, generator):
    model = corpus.build_model().train()
    batch = corpus.draw_batch(60, generator)
    with torch.no_grad():
        embedded = {view: model.encoder(batch.views[view]) for view in (CLEAN, MASKED)}
        wrong = {CLEAN: embedded[CLEAN], MASKED: embedded[CLEAN].roll(1, 0)}
        kind = objective(corpus, "mask_contrast")
        assert (kind.loss(nn.Identity(), wrong, batch) / kind.baseline_loss).item() == pytest.approx(1, abs=0.25)
        assert kind.loss(nn.Identity(), embedded, batch) < kind.loss(nn.Identity(), wrong, batch)


def test_objectives_share_three_passes(corpus, generator):
    model, batch = corpus.build_model(), corpus.draw_batch(8, generator)
    passes = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    corpus.objective_losses(model, batch)
    assert len(passes) == 3


def test_every_loss_falls(corpus):
    """60 molecules, equal weights: the mean of the last ten steps is below that of the first ten, for each."""
    protocol = Protocol.parsed({"steps": 80, "batch_size": 32, "learning_rate": 3e-3})
    trainer = Pretrainer(corpus, protocol, 0, CostMeter(32, corpus.device))
    losses = []
    equal = WeightSchedule.constant([1 / len(EVERY)] * len(EVERY))
    trainer.run(equal, 80, lambda _, step_losses: losses.append(step_losses))
    first, last = torch.stack(losses[:10]).mean(0), torch.stack(losses[-10:]).mean(0)
    for name, before, after in zip(EVERY, first.tolist(), last.tolist(), strict=True):
        assert after < before, (name, before, after)


def test_hypergradients_go_through_resnet_and_losses(loaded):
    """Forward mode over the losses agrees with central differences of them: what tapweight needs of a task."""
    from torch.autograd import forward_ad
    from torch.func import functional_call

    task = loaded.task
    model = task.build_model().double().train()
    batch = task.draw_batch(16, torch.Generator().manual_seed(1))
    batch = ImageBatch(batch.index, batch.order, {view: image.double() for view, image in batch.views.items()})
    draw = torch.Generator().manual_seed(2)
    values = {name: p.detach() for name, p in model.named_parameters()}
    tangents = {n: torch.randn(p.shape, generator=draw, dtype=torch.float64) for n, p in values.items()}
    holder = nn.Module()
    holder.model = model
    holder.forward = lambda: task.objective_losses(model, batch)

    def losses(at):
        buffers = {f"model.{n}": b.clone() for n, b in model.named_buffers()}
        return functional_call(holder, ({f"model.{n}": v for n, v in at.items()}, buffers), ())

    with forward_ad.dual_level(), torch.no_grad():
        dual = losses({n: forward_ad.make_dual(v, tangents[n]) for n, v in values.items()})
        exact = forward_ad.unpack_dual(dual).tangent
    step = 1e-8  # ReLUs and max pooling have kinks, and a drawing depends on the version of RDKit
    with torch.no_grad():
        ahead, behind = (losses({n: v + s * step * tangents[n] for n, v in values.items()}) for s in (1, -1))
    assert torch.allclose(exact, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-5)


def test_unknown_and_repeated_names_are_user_errors(smiles):
    with pytest.raises(UserError, match="jigsaw"):
        ImageCorpus(smiles, ("jigsw",), size=32, encoder=NARROW)
    with pytest.raises(UserError, match="twice"):
        ImageCorpus(smiles, ("jigsaw", "jigsaw"), size=32, encoder=NARROW)
    with pytest.raises(UserError, match="no objective"):
        ImageCorpus(smiles, (), size=32, encoder=NARROW)
