"""BERT's layers as one function: the numbers and gradients of transformers' own, dropout included."""

import pytest
import torch

from hpo_bench.tasks.base import gradient_alone
from hpo_bench.tasks.text import quick
from hpo_bench.tasks.text.encoder import load_base
from tests.tasks.text.conftest import save_model


@pytest.fixture(scope="module", params=["bert", "roberta"])
def backbone(request, tmp_path_factory):
    return load_base(save_model(tmp_path_factory.mktemp("quick") / request.param, request.param)).encoder.backbone


def both(backbone, layer, dtype, training, masked):
    """Hidden states and gradients of transformers' own way, and of ours."""
    model = backbone.to(dtype).train(training)
    words = torch.randn(5, 12, 16, dtype=dtype, generator=torch.Generator().manual_seed(0))
    known = torch.arange(12) < torch.tensor([12, 3, 7, 12, 1])[:, None]
    seen = known[:, None, None].expand(-1, 1, 12, -1) if masked else None
    found = []
    for ours in (False, True):
        torch.manual_seed(3)
        model.zero_grad()
        if ours:
            hidden = quick.through_layers(model, model.embeddings(inputs_embeds=words), seen, layer)
        else:
            given = {"attention_mask": known.long()} if masked else {}
            hidden = model(inputs_embeds=words, **given).last_hidden_state
        hidden = hidden * known[..., None] if masked else hidden
        hidden.square().sum().backward()
        found.append((hidden.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    return found


def same(found, **close):
    (hidden, gradients), (ours, theirs) = found
    assert torch.allclose(hidden, ours, **close)
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, theirs[name], **close), name


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_layers_are_those_of_transformers(backbone, training, masked):
    same(both(backbone, quick.layer, torch.float64, training, masked), rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_compiled_layers_are_the_layers(backbone):
    compiled = torch.compile(quick.layer, fullgraph=True, dynamic=False)
    same(both(backbone, compiled, torch.float32, False, False), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so(backbone, monkeypatch):
    def refuses(*_):
        raise RuntimeError("no compiler\nmore")

    monkeypatch.setitem(quick._found, "layer", refuses)
    with pytest.warns(UserWarning, match="cannot be compiled.*no compiler"):
        first = both(backbone, quick.compiled, torch.float64, False, False)
    same(first, rtol=1e-9, atol=1e-11)
    same(both(backbone, quick.compiled, torch.float64, False, True), rtol=1e-9, atol=1e-11)


def test_a_processor_and_passes_that_need_more_than_a_gradient_take_the_models_own_way(backbone):
    hidden = torch.zeros(2, 3, 16)
    assert not quick.usable(backbone.train(), hidden)
    with gradient_alone():
        assert not quick.usable(backbone.train(), hidden)
