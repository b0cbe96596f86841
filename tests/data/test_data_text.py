"""GLUE's files, a user's own, corpora: read right, and refused in words that help."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hpo_bench.data.glue import GLUE, load_glue, read_glue
from hpo_bench.data.text_table import cut_valid, read_corpus, read_texts, split_table
from hpo_bench.errors import UserError

ROWS = {  # train and dev of GLUE, as published
    "cola": (8551, 1043), "rte": (2490, 277), "stsb": (5749, 1500), "sst2": (67349, 872), "mrpc": (3668, 408),
}  # fmt: skip


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ROWS)
def test_glues_own_files(name: str, shared_data: Path) -> None:
    splits = load_glue(name, shared_data / "glue")
    assert (len(splits.train) + len(splits.valid), len(splits.test)) == ROWS[name]
    assert len(splits.valid) == int(min(max(0.1 * ROWS[name][0], 250), 2000))
    assert (splits.train.second is None) == (name in ("cola", "sst2"))
    if name == "stsb":
        assert splits.test.first[0] == "A man with a hard hat is dancing."
        assert splits.test.labels[0] == 5
    else:
        assert set(splits.train.labels) == {0, 1}


def test_all_eight_tasks_are_read_from_the_shape_that_glue_has(tmp_path: Path) -> None:
    headers = {
        "SST-2": ("sentence\tlabel", "fine film\t{}", ("1", "0")),
        "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", '{}\t1\t2\tHe said "no\tShe', ("1", "0")),
        "STS-B": ("index\tsentence1\tsentence2\tscore", "0\ta man\ta dog\t{}", ("2.5", "5.000")),
        "QQP": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\twho?\twhat?\t{}", ("0", "1")),
        "MNLI": ("index\tsentence1\tsentence2\tgold_label", "0\ta\tb\t{}", ("neutral", "contradiction")),
        "QNLI": ("index\tquestion\tsentence\tlabel", "0\twho?\tme\t{}", ("entailment", "not_entailment")),
        "RTE": ("index\tsentence1\tsentence2\tlabel", "0\ta\tb\t{}", ("entailment", "not_entailment")),
        "CoLA": (None, "gj04\t{}\t*\tThey drank the pub.", ("0", "1")),
    }
    for one in GLUE.values():
        header, row, labels = headers[one.folder]
        lines = ([header] if header else []) + [row.format(labels[i % 2]) for i in range(12)]
        write(tmp_path / one.folder / "train.tsv", *lines)
        (tmp_path / one.folder / f"{one.dev}.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        splits = load_glue(one.name, tmp_path)
        assert (len(splits.train), len(splits.valid), len(splits.test)) == (9, 3, 12)
        assert len(set(splits.test.labels)) == 2
    assert load_glue("mrpc", tmp_path).test.first[0] == 'He said "no'
    assert load_glue("mnli", tmp_path).test.labels[:2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("0\ta\tb\t5.2", "line 3: the label is '5.2', outside 0 to 5"),
        ("0\ta\tb\thigh", "line 3: the label is 'high', which is no number"),
        ("0\ta\tb", "line 3: 3 cells, 4 are needed"),
        ("0\ta\t \t1", "line 3: the text is empty"),
    ],
)
def test_a_bad_row_of_glue_is_named(tmp_path: Path, row: str, told: str) -> None:
    path = write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tscore", "0\ta\tb\t1", row)
    with pytest.raises(UserError, match=told):
        read_glue(path, GLUE["stsb"])


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tscore", "0\ta\tb\t1", "", "", "1\ta\tb\thigh")
    with pytest.raises(UserError, match="line 5: the label is 'high'"):
        read_glue(path, GLUE["stsb"])


def test_a_text_with_a_tab_is_said(tmp_path: Path) -> None:
    """MRPC's and CoLA's texts stand last: what follows a tab would be lost without a word."""
    good, tab = "src\t{}\t*\tThey drank.", "src\t1\t*\tThey drank\tthe pub."
    found = read_glue(write(tmp_path / "train.tsv", *[good.format(n % 2) for n in range(8)], tab), GLUE["cola"])
    told = "1 of 9 rows of train.tsv have more than 4 cells: a text may end at a tab; first: line 9"
    assert found.notices == (told,)


def test_swapped_files_are_said(tmp_path: Path) -> None:
    lines = [f"src\t{n % 2}\t*\tThey drank {n}." for n in range(40)]
    write(tmp_path / "CoLA" / "train.tsv", *lines[:12])
    write(tmp_path / "CoLA" / "dev.tsv", *lines)
    told = "dev.tsv has 40 rows, more than train.tsv, 12: were they swapped?"
    assert load_glue("cola", tmp_path).train.notices == (told,)


def test_a_missing_task_names_all_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as told:
        load_glue("rte", tmp_path)
    for part in (str(tmp_path / "RTE"), str(tmp_path / "glue" / "RTE"), "load_dataset('nyu-mll/glue', 'rte')"):
        assert part in told.value.message
    assert "RTE/train.tsv" in told.value.remedy
    with pytest.raises(UserError, match="Did you mean 'stsb'"):
        load_glue("stsbb")


def test_the_hub_is_read_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's rows come out as the files' do; the client is replaced, its return value is a real DatasetDict."""
    datasets = pytest.importorskip("datasets")
    rows = {"sentence1": ["a"] * 12, "sentence2": ["b"] * 12, "label": [0, 1] * 6, "idx": list(range(12))}
    asked = []

    def load_dataset(*words: str) -> object:
        asked.append(words)
        return datasets.DatasetDict({p: datasets.Dataset.from_dict(rows) for p in ("train", "validation", "test")})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.dataset_info", lambda name, timeout: asked.append((name,)))
    monkeypatch.delenv("HPO_BENCH_DATA", raising=False)
    splits = load_glue("rte")
    assert asked == [("nyu-mll/glue",), ("nyu-mll/glue", "rte")]
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (9, 3, 12)
    assert splits.test.second == ["b"] * 12
    assert splits.test.labels.tolist() == [0, 1] * 6


def test_valid_is_cut_by_a_fixed_seed_and_apart_from_train(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label", *(f"text {i},{i % 2}" for i in range(3000)))
    table = read_texts(path, "text", "label", "classification")
    for rows, train_size, valid_size in ((None, 2700, 300), (1250, 1000, 250), (40, 30, 10)):
        train, valid = cut_valid(table, rows)
        assert (len(train), len(valid)) == (train_size, valid_size)
        assert not set(train.first) & set(valid.first)
        assert cut_valid(table, rows)[1].first == valid.first
    splits = split_table(table)
    parts = [set(part.first) for part in (splits.train, splits.valid, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 3000


def test_own_files_csv_and_jsonl_read_alike(tmp_path: Path) -> None:
    rows = [("a dog, old", "the sea", 1.5), ("the cat", "a sun", 4)]
    csv = write(tmp_path / "a.csv", "q,p,score", *(f'"{a}",{b},{c}' for a, b, c in rows))
    jsonl = write(tmp_path / "a.jsonl", *(json.dumps({"q": a, "p": b, "score": c}) for a, b, c in rows))
    for path in (csv, jsonl):
        table = read_texts(path, "q", "score", "regression", text2="p", score_range="0,5")
        assert table.first == ["a dog, old", "the cat"]
        assert table.second == ["the sea", "a sun"]
        assert np.array_equal(table.labels, [1.5, 4])
    words = write(tmp_path / "b.csv", "text,label", "a,good", "b,bad", "c,fair", "d,bad")
    table = read_texts(words, "text", "label", "classification")
    assert (table.kind, table.classes, table.labels.tolist()) == ("classes", ("bad", "fair", "good"), [2, 0, 1, 0])


@pytest.mark.parametrize(
    ("lines", "options", "told"),
    [
        (["text,label", "a,7"], {"kind": "regression", "score_range": "0,5"}, "line 2: label is 7, outside 0 to 5"),
        (["text,label", "a,x"], {"kind": "regression"}, "line 2: 'x' in column 'label' is not a number"),
        (["text,label", "a,1", "b,"], {"kind": "classification"}, "one class only"),
        (["text,label", " ,1", "b,"], {"kind": "classification"}, "no row has a text and a label"),
        (["text,label", "a,1", "b,1"], {"kind": "classification"}, "one class only, '1'"),
        (["text,label", "a,1", " ,0", "b,1"], {"kind": "classification"}, "one class only in the 2 of 3 rows"),
        (["text,label", "a,1"], {"kind": "ranking"}, "kind of label named 'ranking'"),
        (["texts,label", "a,1"], {"kind": "regression"}, "Did you mean 'texts'"),
        (["text,label", *(f"a,{i}" for i in range(30))], {"kind": "classification"}, "30 classes in 30 rows"),
    ],
)
def test_own_files_are_refused_by_line(tmp_path: Path, lines: list[str], options: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_texts(write(tmp_path / "own.csv", *lines), "text", "label", **options)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    for read in (read_corpus, lambda path: read_texts(path, "text", "label", "regression")):
        for name in ("absent.txt", "absent.jsonl"):
            with pytest.raises(UserError, match="There is no file"):
                read(tmp_path / name)
    cut = '{"text": "a", "lab'
    with pytest.raises(UserError, match="line 2, column 15: Unterminated string starting at"):
        read_texts(write(tmp_path / "a.jsonl", '{"text": "a", "label": 1}', cut), "text", "label", "regression")
    array = write(tmp_path / "a.json", "[", '{"text": "a", "label": 1},', "{", " 7}]")
    with pytest.raises(UserError, match="line 4, column 2: Expecting property name"):
        read_texts(array, "text", "label", "regression")


def test_a_corpus_is_one_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\n\n two \n"))
    texts, source = read_corpus(path)
    assert texts == ["one", "two"]
    assert (source["file"], source["texts"], source["blank_lines"]) == ("a.txt.gz", 2, 1)
    assert read_corpus(write(tmp_path / "b.jsonl", '{"text": "x"}', "", '{"text": "y"}'))[0] == ["x", "y"]
    with pytest.raises(UserError, match="holds no text"):
        read_corpus(write(tmp_path / "c.txt", "", " "))
