"""A language model of one's own, from a corpus to a model that transformers and `--model` load."""

import gzip
import json
import lzma
import os
import re
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hpo_bench.bases import workplace
from hpo_bench.bases.text import TextShape, pretrain_text
from hpo_bench.bases.training import Recipe, Rows
from hpo_bench.cli import app
from hpo_bench.errors import UserError
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.load import text as load_text
from hpo_bench.tasks.text.tokens import Tokeniser
from hpo_bench.tasks.text.vocabulary import train_wordpiece
from tests import program
from tests.permissions import read_only
from tests.tasks.text.conftest import sentences

RECIPE = Recipe(
    epochs=2,
    minutes=None,
    batch_size=32,
    learning_rate=3e-3,
    weight_decay=0.01,
    warmup=5,
    clip=1.0,
    precision="fp32",
    seed=0,
)
SHAPE = TextShape(layers=1, width=32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(sentences(200, 0)))
    return path


def invoke(*words):
    return CliRunner().invoke(app, ["pretrain-base", *(str(word) for word in words)])


def make(corpus, out, shape=SHAPE, recipe=RECIPE, **options):
    return pretrain_text(out, corpus_file=corpus, shape=shape, recipe=recipe, device="cpu", **options)


def test_from_a_corpus_to_a_model(tmp_path, corpus):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    out = tmp_path / "model"
    words = ["--corpus", corpus, "--out", out, "--layers", 1, "--width", 32, "--epochs", 12, "--warmup", 5]
    words += ["--batch-size", 32, "--learning-rate", 0.003, "--json"]
    told = invoke(*words)
    assert told.exit_code == 0, (told.output, told.exception)
    metadata = json.loads((out / "hpo_bench.json").read_text())
    assert metadata["corpus"]["file"] == "corpus.txt"
    assert metadata["finished"]
    assert metadata["steps"] == 12 * 7, "seven batches of 32 at most see 200 lines"
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1, "whoever may read one file may read the model"
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
    assert not (out / "training").exists()
    # The same command does not train again; another one is refused, and the model stays.
    before = (out / "model.safetensors").read_bytes()
    again = invoke(*words)
    assert json.loads(again.output)["sha256"] == base.sha256
    other = invoke(*words, "--seed", 1)
    assert isinstance(other.exception, UserError)
    assert "seed 0, not 1" in str(other.exception)
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("words", [["--encoder", "gin"], ["--image-size", "32"], ["--molecules", "10"]])
def test_what_is_of_molecules_is_refused_beside_a_corpus(tmp_path, corpus, words):
    told = invoke("--corpus", corpus, "--out", tmp_path / "model", *words)
    assert isinstance(told.exception, UserError)
    assert f"{words[0]} cannot go with --corpus" in str(told.exception)
    assert not (tmp_path / "model").exists()


def test_what_is_of_texts_is_refused_without_a_corpus(tmp_path):
    told = invoke("--out", tmp_path / "base.safetensors", "--tokens", 64)
    assert isinstance(told.exception, UserError)
    assert "--tokens cannot go without --corpus" in str(told.exception)


@pytest.mark.parametrize(
    ("name", "write"), [("c.txt.gz", gzip.open), ("c.txt.xz", lzma.open), ("c.jsonl.xz", lzma.open)]
)
def test_compressed_corpora_give_the_same_model(tmp_path, corpus, name, write):
    lines = corpus.read_text().splitlines()
    with write(tmp_path / name, "wt") as file:
        file.write("\n".join(json.dumps({"text": line}) for line in lines) if "jsonl" in name else "\n".join(lines))
    recipe = replace(RECIPE, epochs=1)
    one, two = make(corpus, tmp_path / "one", recipe=recipe), make(tmp_path / name, tmp_path / "two", recipe=recipe)
    assert one["sha256"] == two["sha256"]


def test_ends_that_are_never_seen_are_said_with_their_share(tmp_path):
    """A book without line breaks is one text."""
    file = tmp_path / "book.txt"
    file.write_text("\n".join(["sun " * 90, "sun " * 10]))
    told = r"longer than 12 tokens are cut: 1 of 2; 80\.0% of all tokens are never seen"
    with pytest.warns(UserWarning, match=told):
        made = make(file, tmp_path / "model", replace(SHAPE, tokens=12), replace(RECIPE, epochs=1))
    assert made["truncated"] == 1


def test_a_model_of_short_lines_says_that_it_is_too_short(tmp_path):
    file, table = tmp_path / "lines.txt", tmp_path / "table.csv"
    file.write_text("\n".join(["the old dog", "a red sun"] * 10))
    table.write_text("text,label\n" + "".join(f"{text},{n % 2}\n" for n, text in enumerate(sentences(60, 1))))
    make(file, tmp_path / "model", recipe=replace(RECIPE, epochs=1))
    with pytest.raises(
        UserError, match=r"the 5 tokens that this model takes leave no room.*\n.*trained on longer texts"
    ):
        load_text(device=torch.device("cpu"), path=str(table), kind="classification", model=str(tmp_path / "model"))


def test_a_vocabulary_is_the_same_at_every_run_whatever_stands_inside_words():
    """The trainer's hash map has another order each time: symbols and vowel signs are no letters, yet part no words."""
    texts = [f"it is 3{sign}5 or x{sign}y का" for sign in "°€×⁺√²½™©$+~|<=_-,.;«»“”…‰鄰"]
    found = [train_wordpiece(texts, 200).get_vocab() for _ in range(5)]
    assert all(one == found[0] for one in found)
    assert {"##°", "##€", "##ा", "##y"} <= found[0].keys()
    assert not {"##,", "##$", "##鄰"} & found[0].keys()  # words of their own: no place is spent on them


def test_a_fresh_head_starts_at_the_corpus_frequencies(tmp_path):
    """With a zero bias it starts at log V over the entropy, 1.15 and more."""
    texts = [" ".join(["the"] * 30 + line.split()) for line in sentences(400, 1)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(texts))
    out = make(path, tmp_path / "model", recipe=replace(RECIPE, epochs=1, learning_rate=1e-9, batch_size=100))
    assert out["losses"]["mlm"] == pytest.approx(1.0, abs=0.05), "of 2,000 tokens that were drawn"
    assert np.log(out["vocabulary"]) / out["chance_in_nats"]["mlm"] > 1.1, "a zero bias would show here"


@pytest.mark.parametrize(("objectives", "types"), [(("mlm",), 1), (("mlm", "sop"), 2)])
def test_a_model_claims_what_was_trained_and_no_more(tmp_path, corpus, objectives, types):
    from transformers import AutoConfig, AutoTokenizer

    make(corpus, tmp_path / "model", shape=replace(SHAPE, objectives=objectives), recipe=replace(RECIPE, epochs=1))
    config, tokenizer = (
        AutoConfig.from_pretrained(tmp_path / "model"),
        AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    longest = max(len(line.split()) for line in sentences(200, 0))
    assert config.max_position_embeddings == longest + types + 1
    assert config.type_vocab_size == types
    assert max(tokenizer("a dog", "a cat")["token_type_ids"]) == types - 1


def test_every_position_and_type_that_is_claimed_was_trained(tmp_path, corpus):
    shape = replace(SHAPE, objectives=("mlm", "sop"))
    still = replace(RECIPE, learning_rate=1e-12, weight_decay=0.0, epochs=1)
    make(corpus, tmp_path / "start", shape=shape, recipe=still)
    make(corpus, tmp_path / "end", shape=shape, recipe=replace(RECIPE, weight_decay=0.0))
    start, end = (load_base(tmp_path / name).encoder.backbone.embeddings for name in ("start", "end"))
    for table in ("position_embeddings", "token_type_embeddings"):
        moved = (getattr(end, table).weight - getattr(start, table).weight).abs().amax(1)
        assert (moved > 1e-4).all(), table


def test_epochs_see_every_row_once_and_batches_hold_rows_of_like_length():
    lengths = np.random.default_rng(0).integers(3, 120, 5000)
    rows = Rows(5000, 64, 0, lengths)
    epochs = [[rows.of(step) for step in range(first, first + rows.batches)] for first in (0, rows.batches)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(5000))
        assert {len(batch) for batch in batches} <= {63, 64}
        padded = sum(len(batch) * lengths[batch].max() for batch in batches)
        assert padded < 1.1 * lengths.sum()
        middles = np.array([lengths[batch].mean() for batch in batches])
        assert abs(np.corrcoef(middles[:-1], middles[1:])[0, 1]) < 0.3, "short and long batches take turns by lot"
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    assert np.array_equal(Rows(5000, 64, 0, lengths).of(100), epochs[1][100 - rows.batches]), "whatever came before"


def test_the_rate_rises_by_steps_and_falls_to_zero_by_steps_or_the_clock():
    by_steps = [RECIPE.rate(step, 100, 0.0) for step in range(101)]
    assert by_steps[:5] == pytest.approx([3e-3 * (i + 1) / 5 for i in range(5)], rel=0.01)
    assert by_steps[50] == pytest.approx(1.5e-3, rel=0.01)
    assert by_steps[100] == pytest.approx(0, abs=1e-9)
    by_clock = replace(RECIPE, epochs=None, minutes=2.0)
    assert by_clock.rate(50, None, 60.0) == pytest.approx(1.5e-3)
    assert by_clock.rate(10**6, None, 120.0) == pytest.approx(0, abs=1e-9)


def test_half_precision_rounds_what_is_written_and_nothing_else(tmp_path, corpus):
    recipe = replace(RECIPE, epochs=1)
    whole, half = (
        make(corpus, tmp_path / "whole", recipe=recipe),
        make(corpus, tmp_path / "half", shape=replace(SHAPE, half=True), recipe=recipe),
    )
    assert whole["losses"] == half["losses"]
    states = [load_base(tmp_path / name).encoder.state_dict() for name in ("whole", "half")]
    for name, weight in states[0].items():
        assert torch.equal(weight.half().float(), states[1][name].float()), name
    assert (tmp_path / "half" / "model.safetensors").stat().st_size < 0.6 * (
        tmp_path / "whole" / "model.safetensors"
    ).stat().st_size


def test_minutes_end_a_training(tmp_path, corpus):
    out = make(corpus, tmp_path / "model", recipe=replace(RECIPE, epochs=None, minutes=0.02))
    assert 1.2 <= out["seconds"] < 20
    assert out["steps"] >= 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"epochs": None}, "--minutes"), ({"minutes": -1.0}, "positive"), ({"clip": 0.0}, "positive")],
)
def test_recipes_out_of_range_are_refused(changes, told):
    with pytest.raises(UserError, match=told):
        replace(RECIPE, **changes)


def test_a_folder_of_something_else_is_left_alone(tmp_path, corpus):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no training"):
        make(corpus, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_killed_training_goes_on_to_the_weights_of_an_unbroken_one(tmp_path, corpus):
    """kill -9 at once after a state was written, and in the middle of the second part too; lines in a pipe."""
    words = ["--corpus", corpus, "--layers", 1, "--width", 32]
    words += ["--epochs", 40, "--batch-size", 32, "--warmup", 5, "--seed", 3, "--device", "cpu"]
    unbroken = invoke(*words, "--out", tmp_path / "unbroken")
    assert unbroken.exit_code == 0, unbroken.output
    assert "100% · step 280" in unbroken.output
    broken = tmp_path / "broken"
    state = broken / "training" / "state.safetensors"
    for _ in range(2):
        seen = state.stat().st_mtime_ns if state.exists() else 0
        process = program.start("pretrain-base", *words, "--out", broken, "--save-every", "0", cwd=tmp_path)
        deadline = time.monotonic() + 120
        while not (state.exists() and state.stat().st_mtime_ns > seen) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    last = invoke(*words, "--out", broken)
    assert last.exit_code == 0, last.output
    assert "going on from step" in last.output
    assert load_base(broken).sha256 == load_base(tmp_path / "unbroken").sha256
    one, two = (json.loads((tmp_path / name / "hpo_bench.json").read_text()) for name in ("broken", "unbroken"))
    assert one["losses"] == two["losses"]


def test_a_finished_one_is_unchanged_and_what_a_kill_in_its_last_step_left_goes(tmp_path, corpus, monkeypatch):
    out = tmp_path / "model"
    words = ["--corpus", corpus, "--out", out, "--layers", 1, "--width", 32, "--epochs", 1, "--device", "cpu"]

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workplace, "_clear", killed)
        assert invoke(*words).exit_code == 130
    training = out / "training"
    assert {"plan.json", "fresh"} <= {path.name for path in training.iterdir()}
    (training / ".state.safetensors.17.tmp").write_bytes(b"half")
    (out / ".writing-abc_1234").mkdir()
    (out / ".writing-notes").write_text("mine")
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    told = invoke(*words)
    assert f"{out} was there already, finished; it is unchanged" in told.stdout
    assert "wrote" not in told.stdout
    assert before == {path: path.read_bytes() for path in out.iterdir()}, "and the leftovers are gone"
    training.mkdir()  # a kill between its last file and itself
    assert json.loads(invoke(*words, "--json").stdout)["made"] is False
    assert not training.exists()


def test_what_is_not_of_a_finished_training_stays_beside_it(tmp_path, corpus):
    report = make(corpus, tmp_path / "model")
    assert report["made"]
    training = tmp_path / "model" / "training"
    training.mkdir()
    (training / "notes.txt").write_text("mine")
    assert make(corpus, tmp_path / "model") == {**json.loads(json.dumps(report)), "made": False}
    assert [path.name for path in training.iterdir()] == ["notes.txt"]
    (training / "plan.json").write_text(json.dumps(report["plan"]))
    with pytest.warns(UserWarning, match=r"training stays: it holds notes\.txt"):
        make(corpus, tmp_path / "model")
    assert [path.name for path in training.iterdir()] == ["notes.txt"]
    (training / "plan.json").write_text("{}")
    with read_only(tmp_path / "model"):
        assert make(corpus, tmp_path / "model")["sha256"] == report["sha256"]


@pytest.mark.parametrize("name", ["notes.txt", ".env"])
def test_a_folder_named_training_that_is_somebody_elses_is_left_alone(tmp_path, corpus, name):
    """At its end the folder of a training goes away."""
    mine = tmp_path / "model" / "training" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=rf"training holds {re.escape(name)} and no training\n.*--out"):
        make(corpus, tmp_path / "model")
    assert [path.name for path in mine.parent.iterdir()] == [name]


def test_a_file_in_the_place_of_the_model_is_refused(tmp_path, corpus):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(UserError, match="model is a file"):
        make(corpus, tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_a_width_that_heads_cannot_share_is_refused(tmp_path, corpus):
    with pytest.raises(UserError, match="--width 96 or 128"):
        make(corpus, tmp_path / "model", replace(SHAPE, width=100))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("held", ["[]", '{"plan": null}', '{"plan": [1]}', "{}", '{"finished": true}'])
def test_metadata_of_something_else_is_refused(tmp_path, corpus, held):
    (tmp_path / "hpo_bench.json").write_text(held)
    with pytest.raises(UserError, match="give another --out"):
        make(corpus, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hpo_bench.json"]


def test_what_is_suspicious_in_a_corpus_is_said(tmp_path):
    lines = sentences(50, 0)
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": line}) + "\n" for line in [*lines, *lines, None, " "]))
    with pytest.warns(UserWarning, match="left out") as told:
        make(file, tmp_path / "model", recipe=replace(RECIPE, epochs=1))
    said = [str(one.message) for one in told]
    assert "2 of 102 rows of corpus.jsonl have no text and are left out" in said
    repeats = 100 - len(set(lines))
    assert f"{repeats} of the 100 texts of corpus.jsonl repeat an earlier one" in said


def test_rows_that_have_nothing_to_be_compared_with_are_said(tmp_path):
    """The loss of `contrast` is 0 there, which looks like success."""
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(sentences(5, 0)))
    with pytest.warns(UserWarning, match="contrast compares the rows of a batch, and some have one"):
        make(file, tmp_path / "model", replace(SHAPE, objectives=("mlm", "contrast")), replace(RECIPE, batch_size=2))


def test_a_full_disk_under_a_library_in_rust_is_a_sentence(tmp_path, corpus, monkeypatch):
    """tokenizers raises a bare Exception."""

    def full(*_):
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr("hpo_bench.tasks.text.scratch.write_trained", full)
    with pytest.raises(UserError, match="No space left on device\nfree some space and run the same command again"):
        make(corpus, tmp_path / "model", recipe=replace(RECIPE, epochs=1))


def test_tokens_outside_the_vocabulary_are_said(tmp_path):
    file = tmp_path / "chinese.txt"
    file.write_text("\n".join("".join(chr(0x4E00 + 40 * row + n) for n in range(40)) for row in range(200)))
    with pytest.warns(UserWarning, match=r"\d\d% of the corpus's tokens are not in the vocabulary .*--vocabulary"):
        make(file, tmp_path / "model", recipe=replace(RECIPE, epochs=1))


def test_a_model_that_is_not_finished_says_so(tmp_path, corpus):
    """The folder of a killed training holds a usable model."""
    make(corpus, tmp_path / "model", recipe=replace(RECIPE, epochs=1))
    table, about = tmp_path / "table.csv", tmp_path / "model" / "hpo_bench.json"
    table.write_text("text,label\n" + "".join(f"{text},{n % 2}\n" for n, text in enumerate(sentences(60, 1))))
    given = {"path": str(table), "kind": "classification", "model": str(tmp_path / "model")}

    def said():
        return [one for one in load_text(device=torch.device("cpu"), **given).notices if "not finished" in one]

    assert not said()
    about.write_text(json.dumps({**json.loads(about.read_text()), "finished": False}))
    assert said() == [
        "the model model is not finished: its training was broken off at step 7; the same pretrain-base command goes on"
    ]
