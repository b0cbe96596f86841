"""The kernels give the encoder's own numbers: on CUDA, or on a processor by Triton's interpreter."""

import importlib.util
import os

import pytest
import torch

from hpo_bench.tasks.base import gradient_alone
from hpo_bench.tasks.molecule import fused
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.objective import on_any_corpus
from hpo_bench.testing.devices import device_under_test

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton"),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available(),
        reason="needs CUDA, or TRITON_INTERPRET=1",
    ),
]


@pytest.fixture(params=[(2, 20), (3, 64)], ids=str)
def corpus(request, bace):
    layers, width = request.param
    device = device_under_test() if os.environ.get("TRITON_INTERPRET") != "1" else torch.device("cpu")
    smiles, encoder = [*bace[0][:12], "[Na+]", "C"], {"layers": layers, "width": width}
    corpus = MoleculeCorpus(smiles, on_any_corpus(OBJECTIVES), encoder=encoder, device=device)
    corpus.packed.in_order = True
    corpus.packed.host.in_order = True
    return corpus


def trained(corpus, batch, monkeypatch, kernels):
    taken = []
    monkeypatch.setattr(fused, "each", lambda *given, each=fused.each: taken.append(1) or each(*given))
    model = corpus.build_model().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn(parameter.shape).to(parameter.device))
    if kernels:
        with gradient_alone():
            losses = corpus.objective_losses(model, batch)
    else:
        losses = corpus.objective_losses(model, batch)
    losses.sum().backward()
    assert len(taken) == kernels
    monkeypatch.undo()
    return model, losses.detach()


def test_losses_gradients_and_running_statistics_are_the_same(corpus, monkeypatch):
    batch = corpus.whole(corpus.draw_batch(14, torch.Generator().manual_seed(1)))
    (model, losses), (other, same) = (trained(corpus, batch, monkeypatch, kernels) for kernels in (False, True))
    assert torch.allclose(losses, same, rtol=2e-5)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        if name.endswith("second.bias"):  # before batch norm: its gradient is rounding
            continue
        error = (a.grad - b.grad).norm() / a.grad.norm().clamp(min=1e-6)
        assert error < 2e-3, (name, float(error))
    for (name, a), b in zip(model.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5), name


def test_the_same_batch_gives_the_same_bits(corpus, monkeypatch):
    batch = corpus.whole(corpus.draw_batch(14, torch.Generator().manual_seed(1)))
    ends = [trained(corpus, batch, monkeypatch, True) for _ in range(2)]
    assert torch.equal(ends[0][1], ends[1][1])
    for a, b in zip(ends[0][0].parameters(), ends[1][0].parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_passes_of_hypergradients_take_the_encoders_own_way(corpus):
    batch = corpus.whole(corpus.draw_batch(14, torch.Generator().manual_seed(1)))
    assert not fused.usable(corpus._joined(batch))
