"""The packed tokens, the bucketed encoder and the heads give what transformers itself gives."""

import pytest
import torch
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.packed import PackedTexts
from hpo_bench.tasks.text.task import rows_at_once
from hpo_bench.tasks.text.tokens import Tokeniser
from tests.tasks.text.conftest import load, save_model, sentences

KINDS = ("bert", "roberta", "deberta-v2")


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_and_hidden_states_are_those_of_transformers(kind, tmp_path):
    from transformers import AutoModel

    folder = save_model(tmp_path, kind)
    tokeniser, base = Tokeniser(folder), load_base(folder)
    first, second = sentences(40, 0, 20), sentences(40, 1, 20)
    packed = PackedTexts(tokeniser.tokenise(first), tokeniser.tokenise(second), tokeniser.frame, 64)
    rows = torch.randperm(40)[:30]
    views = [packed.batch(rows), packed.side(rows, 1)]
    base.encoder.eval()
    with torch.no_grad():
        ours = base.encoder(views)
    model = AutoModel.from_pretrained(folder).eval()
    for view, hidden, texts in (
        (views[0], ours[0], [[first[i] for i in rows], [second[i] for i in rows]]),
        (views[1], ours[1], [[second[i] for i in rows]]),
    ):
        theirs = tokeniser.hf(*texts, padding=True, return_tensors="pt")
        assert torch.equal(view.ids, theirs["input_ids"])
        assert torch.equal(view.mask.long(), theirs["attention_mask"])
        if "token_type_ids" in theirs:
            assert view.types is not None
            assert torch.equal(view.types, theirs["token_type_ids"])
        with torch.no_grad():
            expected = model(**theirs).last_hidden_state
        mask = view.mask[..., None]
        torch.testing.assert_close(hidden * mask, expected * mask, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_mlm_is_that_of_transformers_with_the_checkpoints_own_head(kind, tmp_path, generator):
    from transformers import AutoModelForMaskedLM

    folder = save_model(tmp_path, kind, head=True)
    base, tokeniser = load_base(folder), Tokeniser(folder)
    assert base.mlm_head, "the checkpoint has a head"
    corpus = TextCorpus(sentences(30, 0), base, tokeniser, objectives=("mlm",))
    batch = corpus.draw_batch(16, generator)
    model = corpus.build_model().eval()
    targets, view = batch.targets["mlm"], batch.views["mlm"]
    labels = torch.full_like(view.ids, -100).flatten().scatter(0, targets["positions"], targets["ids"])
    reference = AutoModelForMaskedLM.from_pretrained(folder).eval()
    given = {} if view.types is None else {"token_type_ids": view.types}
    with torch.no_grad():
        ours = corpus.objective_losses(model, batch)[0] * corpus._baseline_losses[0]
        theirs = reference(
            input_ids=view.ids, attention_mask=view.mask.long(), labels=labels.view_as(view.ids), **given
        ).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_without_a_head_gets_a_fresh_one_with_a_tied_decoder(loaded):
    corpus = loaded.task.corpus
    assert corpus.base.mlm_head == {}
    model = corpus.build_model()
    names = [name for name, p in model.named_parameters() if p.shape[0] == corpus.base.vocabulary and p.ndim == 2]
    assert names == ["encoder.backbone.embeddings.word_embeddings.weight"]
    assert "fresh" in loaded.report["mlm_head"]


def test_the_first_layers_of_a_model(bert):
    whole, one = load_base(bert), load_base(bert, layers=1)
    assert (whole.layers, one.layers) == (2, 1)
    assert whole.sha256 != one.sha256
    kept = one.encoder.state_dict()
    assert all(torch.equal(value, whole.encoder.state_dict()[name]) for name, value in kept.items())
    with pytest.raises(UserError, match="2 layers, not 3"):
        load_base(bert, layers=3)


def test_embeddings_are_means_over_tokens_or_the_first(bert, tokeniser):
    packed = PackedTexts(tokeniser.tokenise(["a big dog", "the sea"]), None, tokeniser.frame, 64)
    tokens = packed.batch(torch.arange(2))
    hidden = torch.randn(2, 5, 3)
    mean, first = load_base(bert).encoder, load_base(bert, pooling="first").encoder
    torch.testing.assert_close(mean.pool(hidden, tokens)[0], hidden[0].mean(0))
    torch.testing.assert_close(mean.pool(hidden, tokens)[1], hidden[1, :4].mean(0))
    assert torch.equal(first.pool(hidden, tokens), hidden[:, 0])


def test_similarity_features_of_pairs_apart(bert, tokeniser):
    task = load("regression", bert, tokeniser, objectives=("contrast",), pairs="apart").task
    encoder = task.build_model().encoder.eval()
    rows = torch.arange(5)
    with torch.no_grad():
        u, v = (encoder.pool(encoder([side])[0], side) for side in (task.train.inputs.side(rows, i) for i in (0, 1)))
        found = task.embed(encoder, task.train.inputs, rows)
    torch.testing.assert_close(found, torch.cat([(u - v).abs(), u * v], 1), rtol=1e-4, atol=1e-5)


def test_texts_that_are_too_long_are_cut_and_counted(tokeniser):
    words = "dog " * 50
    first, second = tokeniser.tokenise([words, "a sea", words]), tokeniser.tokenise([words, words, "a sea"])
    packed = PackedTexts(first, second, tokeniser.frame, 32)
    assert packed.truncated == 3
    assert packed.batch(torch.arange(3)).sizes.tolist() == [32, 32, 32]
    assert packed.counts.tolist() == [[14, 15], [2, 27], [27, 2]]
    assert PackedTexts(first, None, tokeniser.frame, 64).truncated == 0
    theirs = tokeniser.hf([words], [words], truncation=True, max_length=32)["input_ids"][0]
    assert packed.batch(torch.tensor([0])).ids[0].tolist() == theirs


def test_tokens_come_from_the_cache(tokeniser, monkeypatch):
    texts = ["the cat eats", "the old dog"]
    first = tokeniser.tokenise(texts)
    monkeypatch.setattr(Tokeniser, "_encode", lambda *_: pytest.fail("tokenised twice"))
    again = Tokeniser(tokeniser.hf.name_or_path).tokenise(texts)
    assert again.ids.tolist() == first.ids.tolist()
    assert F.pad(torch.from_numpy(again.counts), (0, 0)).tolist() == [3, 3]


def test_what_cannot_be_loaded_is_named(tmp_path, tokeniser):
    with pytest.raises(UserError, match="no model 'no-such-model'"):
        load_base("no-such-model")
    with pytest.raises(UserError, match="no tokeniser"):
        Tokeniser(tmp_path)
    with pytest.raises(UserError, match="finds nothing that it knows in the text"):
        tokeniser.tokenise(["a dog", " \t"])


def test_a_tokeniser_without_a_mask_token(tmp_path):
    folder = save_model(tmp_path, "bert", mask=False)
    base, tokeniser = load_base(folder), Tokeniser(folder)
    with pytest.raises(UserError, match="no mask token"):
        TextCorpus(sentences(9, 0), base, tokeniser, objectives=("mlm", "sop"))
    assert len(TextCorpus(sentences(9, 0), base, tokeniser, objectives=("contrast", "sop", "rtd"))) == 9


def test_a_pass_outside_training_is_as_long_as_its_tokens_allow():
    cpu, accelerator = torch.device("cpu"), torch.device("cuda")
    assert [rows_at_once(limit, cpu) for limit in (32, 64, 128, 512)] == [1024, 512, 256, 128]
    assert [rows_at_once(limit, accelerator) for limit in (64, 512, 4096)] == [2048, 256, 128]


def test_embeddings_do_not_depend_on_how_many_rows_pass_at_once(bert, tokeniser):
    task = load("regression", bert, tokeniser, pairs="apart").task
    encoder, rows = task.build_model().encoder.eval(), torch.arange(len(task.train))
    with torch.no_grad():
        whole = task.embed(encoder, task.train.inputs, rows)
        parts = [task.embed(encoder, task.train.inputs, part) for part in rows.split(3)]
    assert len(parts) > 1
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)
