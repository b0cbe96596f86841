"""A language model of one's own, from a corpus to a model that transformers and `--model` load."""

import json

import pytest
import torch
from typer.testing import CliRunner

from hpo_bench.cli import app
from hpo_bench.errors import UserError
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.tokens import Tokeniser
from tests.tasks.text.conftest import sentences


def test_from_a_corpus_to_a_model(tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    corpus, out = tmp_path / "corpus.txt", tmp_path / "model"
    corpus.write_text("\n".join(sentences(200, 0)))
    words = ["pretrain-base", "--corpus", corpus, "--out", out, "--layers", 1, "--width", 32, "--epochs", 12]
    words += ["--batch-size", 32, "--learning-rate", 0.003, "--json"]
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, (told.output, told.exception)
    metadata = json.loads((out / "hpo_bench.json").read_text())
    assert metadata["corpus"]["file"] == "corpus.txt"
    base = load_base(out)
    assert base.mlm_head, "its own head is kept"
    assert (base.layers, base.width) == (1, 32)
    # What transformers makes of the folder predicts the corpus's words better than their frequencies do.
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForMaskedLM.from_pretrained(out).eval()
    assert tokenizer.tokenize("The DOG sees") == ["the", "dog", "sees"]
    assert Tokeniser(out).mask == tokenizer.mask_token_id
    given = tokenizer("the [MASK] sees", return_tensors="pt")
    with torch.no_grad():
        shares = model(**given).logits[0, 2].softmax(0)
    whole = [tokenizer.convert_tokens_to_ids(word) for word in set(" ".join(sentences(200, 0)).split())]
    assert shares[whole].sum() > 0.9, "words of the corpus, not its word pieces"


@pytest.mark.parametrize("words", [["--encoder", "gin"], ["--image-size", "32"], ["--molecules", "10"]])
def test_what_is_of_molecules_is_refused_beside_a_corpus(tmp_path, words):
    (tmp_path / "corpus.txt").write_text("a dog sees a cat")
    where = ["--corpus", str(tmp_path / "corpus.txt"), "--out", str(tmp_path / "model")]
    told = CliRunner().invoke(app, ["pretrain-base", *where, *words])
    assert isinstance(told.exception, UserError)
    assert f"{words[0]} cannot go with --corpus" in str(told.exception)
    assert not (tmp_path / "model").exists()
