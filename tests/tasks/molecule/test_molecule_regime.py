"""Few labels and a corpus of one's own: what is kept, what never enters, and what the record says."""

import csv

import numpy as np
import pytest
import torch

from hpo_bench.errors import UserError
from hpo_bench.tasks.molecule.load import csv as load_csv
from hpo_bench.tasks.molecule.regime import few

RINGS = ["c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccsc1", "C1CCNCC1", "c1ccoc1"]


@pytest.fixture
def table(tmp_path):
    """60 molecules in a CSV with a column that splits them 40 : 10 : 10; the molecules of each part."""
    rows = [f"{'C' * (1 + number // 6)}{RINGS[number % 6]}" for number in range(60)]
    parts = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "y", "part"])
        writer.writerows(
            (smiles, number % 2, part) for number, (smiles, part) in enumerate(zip(rows, parts, strict=True))
        )
    return path, {name: [s for s, part in zip(rows, parts, strict=True) if part == name] for name in set(parts)}


def loaded(path, **options):
    options = {"objectives": ["atom", "contrast"], "base": "none", **options}
    return load_csv(
        device=torch.device("cpu"), path=str(path), label=["y"], kind="classification", split="part", **options
    )


def test_few_labels_leave_the_corpus_whole(table):
    path, _ = table
    whole, part = loaded(path), loaded(path, labelled=12)
    assert (len(whole.task.train), len(part.task.train), len(part.task.corpus)) == (40, 12, 40)
    assert part.task.corpus.data_hash == whole.task.corpus.data_hash
    assert (part.report["labelled"], part.report["train_molecules"]) == (12, 40)
    assert torch.equal(part.task.valid.labels, whole.task.valid.labels)
    assert torch.equal(loaded(path, labelled=12).task.train.labels, part.task.train.labels)


def test_a_corpus_stands_beside_train_and_holds_nothing_of_valid_and_test(table, tmp_path):
    path, molecules = table
    known, held_out = molecules["train"][3], [molecules["valid"][0], molecules["test"][5]]
    file = tmp_path / "corpus.smi"
    file.write_text("\n".join(["CCO", "OCC", "no molecule", known, *held_out, "CCCCN"]))
    found = loaded(path, corpus=str(file))
    assert len(found.task.corpus) == 42  # ethanol and butylamine beside the 40
    assert len(found.task.train) == 40
    counts = {name: found.report[f"corpus_{name}"] for name in ("skipped", "in_valid_or_test", "repeats")}
    assert counts == {"skipped": 1, "in_valid_or_test": 2, "repeats": 2}
    assert found.report["corpus_source"] == "corpus.smi"
    assert found.report["corpus"] == "42 given molecules"


def test_the_draw_of_labels_is_nested_and_has_both_classes():
    labels = np.zeros((200, 1))
    labels[7] = 1  # one in two hundred
    train = np.arange(200)
    drawn = few(train, labels, 20, "classification")
    assert labels[drawn].sum() == 1
    assert len(np.unique(drawn)) == 20
    values = np.random.default_rng(0).normal(size=(200, 1))
    small, large = (set(few(train, values, count, "regression").tolist()) for count in (20, 50))
    assert small < large


@pytest.mark.parametrize(
    "options",
    [
        {"labelled": 1},
        {"labelled": 41},
        {"labelled": "some"},
        {"labelled": 2.5},
        {"corpus": "moses:many"},
        {"corpus": "nowhere"},
    ],
)
def test_what_cannot_be_had_is_refused(table, options):
    with pytest.raises(UserError):
        loaded(table[0], **options)
