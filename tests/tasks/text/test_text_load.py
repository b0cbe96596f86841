"""From a file and a model folder to a task, and a whole run through the command line."""

import json

import pytest
import torch
from typer.testing import CliRunner

from hpo_bench.cli import app
from hpo_bench.errors import UserError
from hpo_bench.run.config import configure
from hpo_bench.tasks.text.load import PRESETS, SHIPPED, TextOptions, stsb, text
from tests.tasks.text.conftest import sentences

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    """60 pairs with a score that says how many words they share."""
    path = tmp_path_factory.mktemp("own") / "pairs.csv"
    pairs = zip(sentences(60, 0), sentences(60, 1), strict=True)
    rows = [f"{a},{b},{len(set(a.split()) & set(b.split()))}" for a, b in pairs]
    path.write_text("\n".join(["a,b,score", *rows]) + "\n")
    return path


def options(own_file, bert, **changed):
    given = {"path": str(own_file), "text": "a", "text2": "b", "label": ["score"], "kind": "regression"}
    return {**given, "model": str(bert), **changed}


def test_a_file_of_ones_own(own_file, bert):
    loaded = text(device=CPU, **options(own_file, bert))
    assert (len(loaded.task.train), len(loaded.task.valid), len(loaded.test)) == (41, 13, 6)
    assert loaded.report["leak"] is None
    assert loaded.report["model"] == "bert", "the folder's name, not a machine's path"
    assert str(own_file.parent) not in json.dumps(loaded.report)
    assert loaded.report["truncated"] == {"train": 0, "valid": 0, "test": 0, "corpus": 0}
    assert loaded.report["corpus"].endswith("of the train split")
    assert len(loaded.task.corpus) <= 2 * 41


def test_a_corpus_of_ones_own(own_file, bert, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(["a big dog " * 20, "", *sentences(9, 5)]))
    loaded = text(device=CPU, **options(own_file, bert, corpus=str(corpus), tokens="32"))
    assert len(loaded.task.corpus) == 10
    assert loaded.report["truncated"]["corpus"] == 1
    assert loaded.report["corpus_source"]["blank_lines"] == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "no-such-model"}, "no-such-model"),
        ({"path": "absent.csv"}, "There is no file absent.csv"),
        ({"corpus": "absent.txt"}, "There is no file absent.txt"),
        ({"score_range": "0,1"}, "outside 0 to 1"),
        ({"layers": 7}, "2 layers, not 7"),
        ({"layers": 0}, "at least 1"),
        ({"tokens": 8}, "leave no room"),
        ({"pooling": "max"}, "option pooling"),
        ({"base": "base.safetensors"}, "with --model"),
        ({"modle": "x"}, "Did you mean 'model'"),
        ({"path": None}, "needs a file"),
    ],
)
def test_what_does_not_fit_is_named(own_file, bert, changed, told):
    with pytest.raises(UserError, match=told):
        text(device=CPU, **{k: v for k, v in options(own_file, bert, **changed).items() if v is not None})


def test_sizes_come_from_the_preset_and_give_way_to_what_is_said():
    quick = configure("equal", "stsb", out=None, preset="quick", task_options={"rows": "50"}).task_options
    assert quick == {"tokens": PRESETS["quick"].options["tokens"], "rows": "50"}
    assert (TextOptions.parsed("stsb", quick).model, TextOptions.parsed("stsb", quick).rows) == (SHIPPED, 50)
    paper = TextOptions.parsed("stsb", configure("equal", "stsb", out=None, preset="paper").task_options)
    assert (paper.model, paper.pairs, TextOptions.parsed("stsb", {}).pairs) == ("roberta-base", "joint", "apart")
    assert set(stsb.presets) == set(PRESETS)


def test_list_shows_the_objectives_on_text():
    told = CliRunner().invoke(app, ["list", "--json"])
    objectives = json.loads(told.output)["objectives"]
    assert [name for name, one in objectives["text"].items() if one["on_by_default"]] == ["mlm", "contrast", "sop"]
    assert "contrast" in objectives["molecules"]


def test_a_run_through_the_command_line(own_file, bert, tmp_path):
    words = ["run", "--method", "implicit", "--task", "text", "--path", own_file, "--label", "score"]
    words += ["--kind", "regression", "--task-option", "text=a", "--task-option", "text2=b", "--model", bert]
    words += ["--preset", "quick", "--set", "steps=6", "--set", "epochs=1", "-o", "warmup=0", "-o", "every=3"]
    words += ["--out", tmp_path / "runs"]
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, (told.output, told.exception)
    record = json.loads((tmp_path / "runs" / "text" / "implicit" / "seed-0" / "run.json").read_text())
    assert record["status"] == "done"
    assert record["objectives"] == ["mlm", "contrast", "sop"]
    assert record["config"]["protocol"]["batch_size"] == 32, "the task's own preset"
    assert sum(record["result"]["weights"]) == pytest.approx(1)
    assert record["data"]["layers"] == 2


@pytest.mark.parametrize(("preset", "steps"), [("quick", 40), ("standard", 100)])
def test_small_presets_probe_unless_a_mode_is_given(preset, steps, tmp_path):
    words = {"method": "equal", "task": "stsb", "out": tmp_path, "preset": preset}
    probed, tuned = configure(**words).protocol, configure(**words, protocol={"mode": "full"}).protocol
    assert (probed.mode, probed.steps, tuned.mode) == ("probe", steps, "full")
    assert probed.trial_cost(1000, 250) < tuned.trial_cost(1000, 250) / 2
