"""Under autocast hidden states stay in its precision; without, nothing differs from transformers' own."""

import copy

import pytest
import torch
from torch import nn

from hpo_bench.core.device import autocast
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.norms import StreamNorm, keep_precision
from hpo_bench.tasks.text.packed import Tokens
from hpo_bench.tasks.text.tokens import Tokeniser
from hpo_bench.testing.devices import device_under_test
from tests.tasks.text.conftest import save_model, sentences

DEVICE = device_under_test()


@pytest.mark.parametrize("bias", [True, False])
def test_the_norm_is_torchs_own_in_float32(bias):
    x, plain = torch.randn(4, 5, 16, device=DEVICE), nn.LayerNorm(16, bias=bias, device=DEVICE)
    ours = nn.Sequential(copy.deepcopy(plain))
    keep_precision(ours)
    assert isinstance(ours[0], StreamNorm)
    assert torch.equal(ours(x), plain(x))
    assert ours[0].state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("bias", [True, False])
def test_under_autocast_it_is_the_same_up_to_the_precision(bias):
    x, plain = torch.randn(4, 5, 16, device=DEVICE), nn.LayerNorm(16, bias=bias, device=DEVICE)
    ours = nn.Sequential(copy.deepcopy(plain))
    keep_precision(ours)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        found = ours(x)
    assert found.dtype is torch.bfloat16
    assert torch.allclose(found.float(), plain(x), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2"])
def test_bf16_gives_the_losses_and_gradients_of_float32_to_its_precision(kind, tmp_path):
    folder = save_model(tmp_path, kind, head=True)
    corpus = TextCorpus(
        sentences(30, 0), load_base(folder), Tokeniser(folder), objectives=("mlm", "contrast"), device=DEVICE
    )
    batch = corpus.draw_batch(16, torch.Generator().manual_seed(0))
    model = corpus.build_model().eval()
    layers = [part for name, part in model.named_modules() if name.rpartition(".")[2].isdigit()]
    seen, found = [], {}
    for layer in layers:
        layer.register_forward_hook(lambda part, given, out: seen.append(out[0] if isinstance(out, tuple) else out))
    for precision in ("fp32", "bf16"):
        seen.clear()
        model.zero_grad()
        with autocast(corpus.device, precision):
            losses = corpus.objective_losses(model, batch)
        losses.float().sum().backward()
        found[precision] = losses.detach().float(), torch.cat([p.grad.flatten() for p in model.parameters()])
        assert seen
        assert {one.dtype for one in seen} == {torch.float32 if precision == "fp32" else torch.bfloat16}
    (exact, gradient), (rough, other) = found["fp32"], found["bf16"]
    assert torch.allclose(exact, rough, rtol=2e-2, atol=2e-2)
    assert float(torch.cosine_similarity(gradient, other, dim=0)) > 0.99


def test_embeddings_of_long_texts_are_counted_in_float32(tmp_path):
    """257 is no number of bf16, which would divide by 256."""
    base = load_base(save_model(tmp_path, "bert"))
    ones = torch.ones(1, 257)
    tokens = Tokens(ones.long(), torch.tensor([257]), ones.bool(), None)
    hidden = torch.ones(1, 257, 4, dtype=torch.bfloat16)
    found = base.encoder.pool(hidden, tokens)
    assert found.dtype is torch.float32
    assert torch.equal(found, torch.full((1, 4), 256 / 257))  # the sum is rounded to bf16, the count is not
