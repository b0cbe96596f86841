"""The base that is shipped: what the package holds is what its card says, and it needs no download."""

import json
import math

import pytest
import torch
from safetensors import safe_open

from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.load import PRESETS, SHIPPED_BASE, stsb
from hpo_bench.tasks.text.tokens import Tokeniser

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base():
    return load_base(SHIPPED_BASE)


def test_it_is_small_and_stored_in_16_bits():
    file = SHIPPED_BASE / "model.safetensors"
    assert file.stat().st_size <= 12e6
    with safe_open(file, framework="pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.float16}  # noqa: SIM118


def test_its_card_names_its_digest_its_corpus_and_its_licence(base):
    card = (SHIPPED_BASE / "README.md").read_text(encoding="utf-8")
    made = json.loads((SHIPPED_BASE / "hpo_bench.json").read_text())
    assert made["finished"]
    for told in (
        base.sha256,
        made["corpus"]["sha256"],
        "CC BY-SA",
        f"{made['steps']:,}",
        f"{made['losses']['mlm']:.3f}",
    ):
        assert told in card


def test_it_knows_english(base):
    """The likeliest word fits, by far more than its share of the corpus."""
    from transformers import AutoModelForMaskedLM

    tokeniser, model = Tokeniser(SHIPPED_BASE), AutoModelForMaskedLM.from_pretrained(SHIPPED_BASE).float().eval()
    text = "she was born in the united [MASK] and moved to new york ."
    given = tokeniser.hf(text, return_tensors="pt")
    place = int((given["input_ids"][0] == tokeniser.mask).nonzero())
    with torch.no_grad():
        shares = model(**given).logits[0, place].softmax(0)
    assert tokeniser.hf.convert_ids_to_tokens(int(shares.argmax())) == "states"
    assert shares.max() > 0.25


def test_it_claims_what_was_trained(base):
    assert base.limit == Tokeniser(SHIPPED_BASE).limit == 128
    assert base.encoder.backbone.embeddings.token_type_embeddings.weight.shape[0] == 1
    assert Tokeniser(SHIPPED_BASE).frame.second_type == 0


def test_a_language_task_starts_from_it_without_a_network(glue_files, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("a model was asked for on a network")

    monkeypatch.setenv("HPO_BENCH_DATA", str(glue_files))
    monkeypatch.setattr("hpo_bench.data.language_model.locate_minilm", no_network)
    monkeypatch.setattr("hpo_bench.data.hub.locate_model", no_network)
    loaded = stsb(device=CPU, **PRESETS["quick"].options | {"rows": "40"})
    assert loaded.report["model"] == "bert-4x256"
    assert loaded.report["leak"] is None
    assert loaded.report["mlm_head"] == "the checkpoint's"
    batch = loaded.task.draw_batch(16, torch.Generator().manual_seed(0))
    losses = loaded.task.objective_losses(loaded.task.build_model().eval(), batch)
    mlm = float(losses[loaded.task.objectives.index("mlm")])
    assert math.isfinite(mlm)
    assert mlm < 0.7, "of chance"
