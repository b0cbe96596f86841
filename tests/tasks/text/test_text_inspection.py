"""What a person is told about texts, where the program stops, and that no model's own code is run."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch

from hpo_bench.data.notices import Notices
from hpo_bench.data.text_table import TextSplits, TextTable
from hpo_bench.errors import UserError
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.inspection import inspect_pieces, inspect_splits
from hpo_bench.tasks.text.load import SHIPPED_BASE, text
from hpo_bench.tasks.text.tokens import Tokeniser
from tests.tasks.text.conftest import sentences

CPU = torch.device("cpu")


def table(texts, labels, kind="binary", classes=("no", "yes")):
    return TextTable(list(texts), None, np.array(labels, dtype=float), kind, classes if kind != "regression" else ())


def split(train, valid, test):
    return TextSplits(train, valid, test)


def told(splits, metric="accuracy", allowed=False):
    notices = Notices(allowed)
    inspect_splits(notices, splits, metric)
    return notices.sentences


def halves(count, name):
    return table([f"{name} {number}" for number in range(count)], [number % 2 for number in range(count)])


def test_clean_splits_need_no_word():
    assert told(split(halves(40, "a"), halves(20, "b"), halves(20, "c"))) == []


def test_texts_in_two_splits_are_said_and_stop_beyond_a_share():
    test = halves(20, "c")
    test.first[3] = "A  1"  # as a reader sees it, in train too
    assert "1 of 20 texts of test are in train too (5.0%)" in told(split(halves(40, "a"), halves(20, "b"), test))
    with pytest.raises(UserError, match=r"20 of 20 texts of test are in train too .*more than 20%"):
        told(split(halves(40, "a"), halves(20, "b"), halves(20, "a")))
    assert told(split(halves(40, "a"), halves(20, "b"), halves(20, "a")), allowed=True)


def test_repeats_and_conflicts_are_counted():
    train = table(["x", "x", "y", "z"] * 5, [0, 1, 1, 0] * 5)
    sentences_said = told(split(train, halves(20, "b"), halves(20, "c")))
    assert "17 of 60 rows repeat an earlier one of 3 texts, 1 of them with conflicting labels" in sentences_said


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "accuracy_f1"])
@pytest.mark.parametrize("part", [1, 2])
def test_a_split_of_one_class_is_refused_before_training(metric, part):
    parts = [halves(40, "a"), halves(20, "b"), halves(20, "c")]
    parts[part].labels[:] = 1
    with pytest.raises(UserError, match=f"all 20 rows of the {('valid', 'test')[part - 1]} split are of class 'yes'"):
        told(split(*parts), metric)


def test_constant_values_have_no_correlation():
    values = np.linspace(0, 5, 20)
    parts = [table([f"{name}{i}" for i in range(20)], values, "regression") for name in "abc"]
    assert told(split(*parts), "pearson_spearman") == []
    parts[2].labels[:] = 2
    with pytest.raises(UserError, match="labels of the test split are the same: pearson and spearman are undefined"):
        told(split(*parts), "pearson_spearman")


def test_a_dominant_class_is_said():
    test = table([f"c {i}" for i in range(40)], [0] * 38 + [1, 1])
    said = told(split(halves(40, "a"), halves(20, "b"), test))
    assert any(
        "38 of 40 test rows are of class 'no': answering it always gives an accuracy of 0.950" in s for s in said
    )
    assert any("2 of class yes in test" in s for s in said)


def rows(count, label=lambda n: n % 2):
    return [
        {"text": f"{words} {'man' if n % 2 else 'dog'}", "label": label(n)}
        for n, words in enumerate(sentences(count, 0))
    ]


def own(folder, lines, bert, **options):
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return text(device=CPU, path=str(path), kind="classification", model=str(bert), **options)


def test_rows_without_label_or_text_are_left_out_and_said(tmp_path, bert):
    lines = rows(100)
    lines[4]["label"], lines[7]["text"], lines[9]["label"] = None, " \u200b", "NA"
    loaded = own(tmp_path, lines, bert)
    assert "2 of 100 rows have no label and are left out; first: line 5 (2.0%)" in loaded.notices
    assert "1 of 100 rows have an empty text and are left out; first: line 8 (1.0%)" in loaded.notices
    assert len(loaded.task.train) + len(loaded.task.valid) + len(loaded.test) == 97
    for line in lines[:30]:
        line["label"] = None
    with pytest.raises(UserError, match="30 of 100 rows have no label"):
        own(tmp_path, lines, bert)


def test_a_corpus_that_holds_the_test_texts_is_told(tmp_path, bert):
    lines = rows(100)
    tested = own(tmp_path, lines, bert)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join([*sentences(50, 9), lines[0]["text"].upper()]))
    told = own(tmp_path, lines, bert, corpus=str(corpus)).notices
    assert not any("in the corpus too" in notice for notice in tested.notices)
    held_out = {"valid", "test"} & {word for notice in told if "in the corpus too" in notice for word in notice.split()}
    corpus.write_text("\n".join(line["text"] for line in lines))
    with pytest.raises(UserError, match="texts of valid are in the corpus too"):
        own(tmp_path, lines, bert, corpus=str(corpus))
    assert len(held_out) <= 1, "one text is in one split at most"


def test_half_an_emoji_is_named_by_its_line(tmp_path, bert):
    lines = rows(60)
    lines[11]["text"] += "\ud83d"
    with pytest.raises(UserError, match=r"line 12: 'text' holds \\ud83d, half of a character"):
        own(tmp_path, lines, bert)


def test_texts_in_a_language_that_the_tokeniser_lacks(tmp_path, bert):
    lines = [{**row, "text": f"{row['text']} привет мир снова {n}"} for n, row in enumerate(rows(60))]
    assert any("are unknown to the tokeniser" in notice for notice in own(tmp_path, lines, bert).notices)
    foreign = [{"text": f"привет мир снова {n}", "label": n % 2} for n in range(60)]
    with pytest.raises(UserError, match=r"100% of the tokens of train are unknown"):
        own(tmp_path, foreign, bert)
    assert own(tmp_path, foreign, bert, allow_suspicious="yes").notices


def test_texts_are_cut_where_the_model_ends_whatever_is_asked_for(tmp_path, bert):
    lines = [{**row, "text": f"{row['text']} {'sun ' * 70}"} for row in rows(60)]
    told = own(tmp_path, lines, bert, tokens="128").notices
    assert any("texts longer than 64 tokens are cut" in notice for notice in told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("the old man walks slowly over a bridge to the market", None),
        ("кошка спит дома, собака лает громко", "3.9"),
        ("die Müdigkeit verschwindet allmählich während des Frühstücks", "3.4"),
    ],
)
def test_a_language_that_the_tokeniser_spells_out_is_said(tmp_path, words, said):
    """No token is unknown: letters are. The shipped base on English, Russian and German."""
    lines = [{"text": f"{words} {number}", "label": number % 2} for number in range(60)]
    told = [one for one in own(tmp_path, lines, SHIPPED_BASE).notices if "falls into" in one]
    assert len(told) == (said is not None)
    assert all(f"a word of train falls into {said} tokens" in one and "--model" in one for one in told)


@pytest.mark.parametrize(("tokens", "said"), [(12, 0), (8, 0), (36, 1)])
def test_writing_without_blanks_is_no_word_in_pieces(tokens, said):
    """Twelve characters of three bytes: by characters, by words of a multilingual model, and by bytes."""
    notices = Notices(False)
    inspect_pieces(notices, table(["我们今天去市场买面包河边"], [0]), tokens)
    assert len(notices.sentences) == said


def test_a_models_own_code_is_never_run(tmp_path, bert):
    folder = shutil.copytree(bert, tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        config = json.loads((folder / name).read_text())
        auto = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoModelForMaskedLM": "evil.Evil"}
        auto["AutoTokenizer"] = ["evil.Evil", "evil.Evil"]
        (folder / name).write_text(json.dumps({**config, "auto_map": auto, "model_type": config.get("model_type")}))
    for load in (load_base, Tokeniser):
        with contextlib.suppress(UserError):  # refused or read without it: both are safe
            load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_pair_in_the_other_order_is_the_same_pair():
    first, second = sentences(100, 1), sentences(100, 2)
    labels = np.arange(100) % 2.0
    whole = TextTable([*first, *second], [*second, *first], np.concatenate([labels, labels]), "binary", ("0", "1"))
    splits = TextSplits(*(whole.take(rows) for rows in (np.arange(100), np.arange(100, 150), np.arange(150, 200))))
    with pytest.raises(UserError, match=r"50 of 50 pairs \(in either order\) of valid are in train too"):
        inspect_splits(Notices(), splits, "accuracy")


def test_a_correlation_of_two_rows_is_refused():
    whole = table(sentences(30, 1), np.arange(30.0), "regression")
    parts = [whole.take(rows) for rows in (np.arange(20), np.arange(20, 28), np.arange(28, 30))]
    with pytest.raises(UserError, match="the test split has two rows: a correlation of two is 1 or -1"):
        inspect_splits(Notices(), TextSplits(*parts), "pearson_spearman")


def test_values_far_from_all_others_are_said():
    parts = [table([f"{name} {n}" for n in range(20)], np.linspace(0, 5, 20), "regression") for name in "abc"]
    assert told(split(*parts), "pearson_spearman") == []
    parts[1].labels[[3, 7]] = -999
    (sentence,) = told(split(*parts), "pearson_spearman")
    assert sentence.startswith("2 of 60 values of the label are far from all others (first: -999; half of them lie")
