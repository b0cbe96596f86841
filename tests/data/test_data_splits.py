"""Splits: golden indices, nothing shared, nothing lost; parsing; and splits that cannot be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpo_bench.data import MoleculeTable, check_split, load_table, make_split, parse_smiles, scaffolds
from hpo_bench.data.repeats import find_repeats
from hpo_bench.data.splits import Split, balanced_scaffold_split, column_split, random_split, scaffold_split
from hpo_bench.errors import UserError

GOLDEN = {
    # the indices that DeepChem 2.8.0's ScaffoldSplitter gives for the same molecules, compared once, hashed here
    "scaffold": "a5057b24f2e5ab33e1877f585f5b47b4ffd0ac0e9e2f38ada12ca0684ce4c0f4",
    "balanced-scaffold": "6efd37bb5da2bcdad9c3a7ddc2a241bf80c75af65495eb787bdca3f86ed44a77",
    "random": "b720242b2e08a600ef3bb87ca63e53867159ddff1ec819230e1731dfaa22ca5b",
}


def table_of(labels: object, kind: str = "classification") -> MoleculeTable:
    array = np.asarray(labels, dtype=float)
    names = tuple(f"y{label}" for label in range(array.shape[1]))
    return MoleculeTable(["C"] * len(array), array, names, kind, np.arange(len(array)))  # type: ignore[arg-type]


def assert_partition(split: Split, total: int) -> None:
    assert np.array_equal(np.sort(np.concatenate(list(split.parts().values()))), np.arange(total))


@pytest.mark.parametrize("kind", GOLDEN)
def test_bace(kind: str, bace_cache: Path) -> None:
    table = load_table("bace")
    split = make_split(table, kind, seed=0)  # type: ignore[arg-type]
    assert [part.size for part in split.parts().values()] == [1210, 151, 152]
    assert_partition(split, 1513)
    assert split.fingerprint == GOLDEN[kind]
    assert check_split(table, split) == {"train": ["Class"], "valid": ["Class"], "test": ["Class"]}
    if kind != "random":
        keys = np.asarray(scaffolds(table.smiles))
        train, valid, test = (set(keys[part]) for part in split.parts().values())
        assert len(train | valid | test) == len(train) + len(valid) + len(test)


def test_scaffold_order_by_hand() -> None:
    # sizes 4, 2, 2, 1, 1; of the two pairs the later one (b) goes first; train takes 6 of 10, valid up to 8
    keys = ["c", "a", "c", "b", "c", "b", "a", "c", "d", "e"]
    split = scaffold_split(keys, (0.6, 0.2, 0.2))
    assert split.train.tolist() == [0, 2, 4, 7, 3, 5]
    assert split.valid.tolist() == [1, 6]
    assert split.test.tolist() == [9, 8]


@pytest.mark.parametrize("seed", range(5))
def test_balanced_and_random_partition_and_repeat(seed: int) -> None:
    keys = [str(number) for number in np.random.default_rng(seed).zipf(1.6, size=300) % 90]
    split = balanced_scaffold_split(keys, seed)
    assert_partition(split, 300)
    assert split.fingerprint == balanced_scaffold_split(keys, seed).fingerprint
    groups = [{keys[row] for row in part} for part in split.parts().values()]
    assert sum(map(len, groups)) == len(set(keys))
    shuffled = random_split(300, seed)
    assert_partition(shuffled, 300)
    assert shuffled.fingerprint != random_split(300, seed + 1).fingerprint


def test_column_split() -> None:
    split = column_split(["train", "VAL", "", "test", "dev"])
    assert [part.tolist() for part in split.parts().values()] == [[0], [1, 4], [3]]
    with pytest.raises(UserError, match="Row 2: 'tset'"):
        column_split(["train", "tset"])
    with pytest.raises(UserError, match="needs a column"):
        make_split(table_of([[0], [1]]), "column")


def test_unknown_split_and_empty_part() -> None:
    with pytest.raises(UserError, match="Did you mean 'scaffold'"):
        make_split(table_of([[0], [1]]), "scafold")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="leaves the train split empty"):
        make_split(table_of([[0], [1]]))  # one scaffold: too large for train


def test_a_split_without_both_classes() -> None:
    indices = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]
    with pytest.raises(
        UserError, match="The valid split \\(2 molecules\\) has both classes in none of its 1 labels"
    ) as e:
        check_split(table_of([[0], [1], [1], [1], [0], [1]]), Split("random", *indices))
    assert "--split" in e.value.remedy
    nan = float("nan")
    several = table_of([[0, 0], [1, 1], [0, 1], [1, 1], [nan, 0], [1, 1]])
    usable = check_split(several, Split("scaffold", *indices))
    assert usable == {"train": ["y0", "y1"], "valid": ["y0"], "test": ["y1"]}
    with pytest.raises(UserError, match=r"The test split .* a value in none"):
        check_split(table_of([[1], [2], [3], [4], [nan], [nan]], "regression"), Split("scaffold", *indices))


def test_parse_lists_what_it_skips(capfd: pytest.CaptureFixture[str]) -> None:
    parsed = parse_smiles(["CCO", "not a molecule", "", "c1ccccc1", "C(C)(C)(C)(C)C"])
    assert parsed.kept.tolist() == [0, 3]
    assert parsed.skipped == [(1, "not a molecule"), (2, ""), (4, "C(C)(C)(C)(C)C")]
    assert parsed.canonical == ["CCO", "c1ccccc1"]
    assert parsed.atoms.tolist() == [3, 6]
    assert capfd.readouterr().err == ""
    with pytest.raises(UserError, match="None of the 2 SMILES"):
        parse_smiles(["xx", "yy"])


def test_scaffolds_drop_chirality_and_side_chains() -> None:
    assert scaffolds(["CC[C@H]1CCCN1", "CCO", "Cc1ccccc1C"]) == ["C1CCNC1", "", "c1ccccc1"]
    with pytest.raises(UserError, match="row 1"):
        scaffolds(["C", "xx"])


def test_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_bench.data.smiles.PARALLEL_FROM", 4)
    monkeypatch.setattr("hpo_bench.data.smiles._CHUNK", 2)
    smiles = ["CCO", "c1ccccc1C", "C1CC1", "xx", "CC", "c1ccncc1"]
    assert parse_smiles(smiles, workers=2).kept.tolist() == parse_smiles(smiles).kept.tolist()
    rest = [text for text in smiles if text != "xx"]
    assert scaffolds(rest, workers=2) == scaffolds(rest)


def test_a_second_start_does_not_parse_again(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setattr("hpo_bench.data.remember.FROM", 3)
    smiles = ["OCC", "xx", "Cc1ccccc1", "C"]
    first, keys = parse_smiles(smiles), scaffolds(["OCC", "Cc1ccccc1", "C"])
    with monkeypatch.context() as patch:
        patch.setattr("hpo_bench.data.smiles._spread", lambda *_: pytest.fail("parsed again"))
        again = parse_smiles(smiles)
        assert scaffolds(["OCC", "Cc1ccccc1", "C"]) == keys == ["", "c1ccccc1", ""]
    assert again.kept.tolist() == first.kept.tolist() == [0, 2, 3]
    assert (again.canonical, again.skipped) == (first.canonical, first.skipped)
    assert again.atoms.tolist() == first.atoms.tolist() == [3, 7, 1]
    for file in (own_cache / "molecules").glob("*.json"):
        file.write_text(file.read_text().replace("CCO", "CCN"))  # valid JSON, another molecule
    with pytest.warns(UserWarning, match="damaged cache"):
        assert parse_smiles(smiles).canonical == first.canonical


def test_repeats_are_counted_and_conflicts_seen() -> None:
    nan = np.nan
    labels = np.array([[1, nan], [nan, 0], [1, 0], [0, 1], [0, nan], [nan, nan], [1, 1]])
    found = find_repeats(["A", "B", "A", "B", "C", "A", "C"], labels)
    # A: 1 and 1, 0 and nothing: they agree; B: 0 and 1 in the second column; C: 0 and 1 in the first
    assert (found.rows, found.groups, found.conflicting) == (4, 3, 2)
    assert find_repeats(["A", "B"], labels[:2]).groups == 0
