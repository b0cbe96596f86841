"""What a person is told about a table of molecules, where the program stops, and labels of any scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpo_bench.data.smiles import count_atom_maps, parse_smiles, scaffolds, without_atom_maps
from hpo_bench.errors import UserError
from hpo_bench.tasks.metrics import rmse
from hpo_bench.tasks.molecule.featurise import featurise_chunk
from hpo_bench.tasks.molecule.load import csv

CPU = torch.device("cpu")
CHAINS = ["C" * length for length in range(2, 42)]
RINGS = ["c1ccccc1" + "C" * length for length in range(1, 41)]
SMILES = [one for pair in zip(CHAINS, RINGS, strict=True) for one in pair]  # 80, told apart by their rings


def write(folder, rows, header="smiles,y"):
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def load(path, kind="classification", split="random", **options):
    return csv(device=CPU, path=path, label=["y"], kind=kind, split=split, base="none", **options)


def classified(smiles=SMILES):
    return [f"{text},{number % 2}" for number, text in enumerate(smiles)]


def test_a_clean_table_needs_no_word(tmp_path):
    loaded = load(write(tmp_path, classified()))
    assert all(notice.startswith("few rows of a class in label 'y'") for notice in loaded.notices), "80 are few"
    assert loaded.report["skipped_smiles"] == 0


def test_unparsable_molecules_are_said_and_beyond_a_share_the_run_stops(tmp_path):
    few = write(tmp_path, ["C[O,1", *classified()])
    told = load(few).notices
    assert told[0].startswith(
        "1 of 81 SMILES cannot be read by RDKit and are left out; first: line 2 of mine.csv, 'C[O'"
    )
    many = write(tmp_path, [*["C[O,1"] * 21, *classified()])
    with pytest.raises(UserError, match=r"21 of 101 SMILES cannot be read .*more than 20%") as caught:
        load(many)
    assert "allow_suspicious=yes" in caught.value.remedy
    assert "21 of 101" in load(many, allow_suspicious="yes").notices[0]
    with pytest.raises(UserError, match="allow_suspicious is 'perhaps'"):
        load(many, allow_suspicious="perhaps")


def test_what_stands_behind_a_blank_is_said_for_table_and_corpus(tmp_path):
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("smiles\nCCN\nC N O\n", encoding="utf-8")
    told = load(write(tmp_path, ["C C O,1", *classified()]), corpus=str(corpus)).notices
    assert "1 of 81 SMILES hold a blank, and are read up to it alone; first: line 2, 'C C O' (1.2%)" in told
    assert "1 SMILES of the corpus hold a blank, and are read up to it alone" in told
    with pytest.raises(UserError, match="21 of 101 SMILES hold a blank"):
        load(write(tmp_path, [*[f"C {n},1" for n in range(21)], *classified()]))


def test_molecules_in_two_splits_are_said_whatever_way_they_are_written(tmp_path):
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    rows = [f"{row},{part}" for row, part in zip(classified(), parts, strict=True)]
    rows[79] = f"[CH3:1][CH3:2],1,{parts[79]}"  # ethane, which is in train
    loaded = load(write(tmp_path, rows, "smiles,y,fold"), split="fold")
    assert "1 of 10 molecules of test are in train too (10%)" in loaded.notices
    assert "1 SMILES carry atom-map numbers, which are taken off" in loaded.notices
    leaking = [*rows[:70], *(f"{row},test" for row in classified()[:6]), *rows[76:]]
    with pytest.raises(UserError, match=r"7 of 10 molecules of test are in train too"):
        load(write(tmp_path, leaking, "smiles,y,fold"), split="fold")


def test_a_split_column_is_checked_by_lines_and_told_from_a_kind_of_split(tmp_path):
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    rows = [f"{row},{part}" for row, part in zip(classified(), parts, strict=True)]
    path = write(tmp_path, rows, "smiles,y,random")
    with pytest.raises(UserError, match="'random' is a kind of split, and also a column") as caught:
        load(path, split="random")
    assert "column:random" in caught.value.remedy
    loaded = load(path, split="column:random")
    assert (len(loaded.task.train), len(loaded.task.valid), len(loaded.test)) == (60, 10, 10)
    typo = ["C[O,1,train", *rows[:50], f"{classified()[50]},trian", *rows[51:]]
    with pytest.raises(UserError, match=r"Line 53: 'trian' is not a split. Did you mean 'train'"):
        load(write(tmp_path, typo, "smiles,y,fold"), split="fold")
    empty = [*rows[:10], f"{classified()[10]},", *rows[11:]]
    told = load(write(tmp_path, empty, "smiles,y,fold"), split="fold").notices
    assert "1 of 80 rows have no word in the split column and are in no split" in told


def test_classes_with_hardly_a_row_are_said(tmp_path):
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    rare = {0, 61, 71, 75}
    rows = [f"{text},{int(n in rare)},{part}" for n, (text, part) in enumerate(zip(SMILES, parts, strict=True))]
    told = load(write(tmp_path, rows, "smiles,y,fold"), split="fold").notices
    assert any("1 of class 1 in train, 1 of class 1 in valid, 2 of class 1 in test" in notice for notice in told)


def test_train_labels_that_do_not_vary_are_refused(tmp_path):
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    rows = [
        f"{text},{0.5 if part == 'train' else n},{part}"
        for n, (text, part) in enumerate(zip(SMILES, parts, strict=True))
    ]
    with pytest.raises(UserError, match=r"train split .* has two values in none of its 1 labels"):
        load(write(tmp_path, rows, "smiles,y,fold"), kind="regression", split="fold")


@pytest.mark.parametrize(
    ("mapped", "plain"),
    [
        ("[CH3:1][c:2]1[cH:3][cH:4][cH:5][cH:6][cH:7]1", "Cc1ccccc1"),
        ("[13CH3:12][N+:3]([CH3:4])([CH3:5])[CH3:6]", "[13CH3][N+](C)(C)C"),
        ("[C@@H:1]([F:2])([Cl:3])[Br:4]", "[C@@H](F)(Cl)Br"),
        ("[O-:1][C:2](=[O:3])[CH3:4]", "[O-]C(=O)C"),
    ],
)
def test_atom_maps_change_nothing(mapped, plain):
    assert count_atom_maps([mapped, plain]) == 1
    assert ":" not in without_atom_maps(mapped)
    assert parse_smiles([mapped]).canonical == parse_smiles([plain]).canonical
    assert scaffolds([mapped]) == scaffolds([plain])
    for name, array in featurise_chunk([mapped]).as_dict().items():
        np.testing.assert_array_equal(array, featurise_chunk([without_atom_maps(mapped)]).as_dict()[name])


def test_an_aromatic_bond_is_no_atom_map():
    assert without_atom_maps("c1:c:c:c:c:c:1") == "c1:c:c:c:c:c:1"


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (1.0, 1e8), (1e30, -1e32), (1e39, 0.0), (1e-140, 0.0)])
def test_a_score_follows_the_scale_of_the_labels(factor, offset, tmp_path):
    """The probe of the same features: its error in other units is the same number in those units."""
    base = [float(3 + np.sin(number)) for number in range(len(SMILES))]

    def solved(values):
        rows = [f"{text},{value!r}" for text, value in zip(SMILES, values, strict=True)]
        loaded = load(write(tmp_path, rows), kind="regression")
        task = loaded.task
        features = torch.randn(len(task.train), 5, generator=torch.Generator().manual_seed(0))
        weight, bias = task.solve_probe(features, task.train.labels)
        outputs = features @ weight.T + bias
        assert torch.isfinite(task.task_loss(outputs, task.train.labels))
        return rmse(task.decode(outputs).numpy(), task.train.labels.numpy()), float(
            task.task_loss(outputs, task.train.labels)
        )

    plain, loss = solved(base)
    scaled, scaled_loss = solved([factor * value + offset for value in base])
    assert scaled / factor == pytest.approx(plain, rel=1e-5)
    assert scaled_loss == pytest.approx(loss, rel=1e-5)


def test_drawing_without_the_libraries_of_a_screen_is_told(monkeypatch):
    from hpo_bench.tasks.image import render

    def missing(name):
        raise ImportError("libXrender.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(render.importlib, "import_module", missing)
    with pytest.raises(UserError, match="RDKit cannot draw on this machine: libXrender") as caught:
        render.render_chunk(["CCO"], 32)
    assert "libxrender1" in caught.value.remedy


def test_salts_and_placeholders_are_said_and_a_salt_in_another_split_too(tmp_path):
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    smiles = [*SMILES[:79], f"{SMILES[10]}.Cl"]
    smiles[5] += "*"
    rows = [f"{text},{n % 2},{part}" for n, (text, part) in enumerate(zip(smiles, parts, strict=True))]
    told = load(write(tmp_path, rows, "smiles,y,fold"), split="fold").notices
    assert "1 of 80 molecules are of several parts (salts, mixtures), all of which are read; first: line 81" in told
    assert "1 of 80 molecules hold a placeholder (*) for an atom, of which nothing is known; first: line 7" in told
    assert "molecules that are in two splits but for salts or solvents: 1 of test are in train" in told


@pytest.mark.parametrize(
    ("cells", "told"),
    [('"InChI=1S/CH4/h1H4"', "These are InChI"), ("C>>CC", "These are reactions"), ("aspirin", "Is the right column")],
)
def test_a_column_of_something_else_than_smiles_is_told(cells, told, tmp_path):
    with pytest.raises(UserError, match="None of the 20 SMILES") as caught:
        load(write(tmp_path, [f"{cells},{n % 2}" for n in range(20)]))
    assert told in caught.value.remedy


@pytest.mark.parametrize("text", ["CCО", "ＣCO", "“CCO”", "CCO…", "éCCO"])
def test_letters_beyond_ascii_make_no_smiles(text, tmp_path):
    """RDKit drops them at the ends: the first one, with a Cyrillic О, would be ethane."""
    told = load(write(tmp_path, [f"{text},1", *classified()])).notices
    assert told[0].startswith(
        f"1 of 81 SMILES cannot be read by RDKit and are left out; first: line 2 of mine.csv, {text!r}"
    )
    with pytest.raises(ValueError, match="not a molecule"):
        featurise_chunk([text])
    with pytest.raises(UserError, match="cannot be parsed"):
        scaffolds([text])


def test_values_that_look_like_classes_and_splits_of_a_row_are_said(tmp_path):
    told = load(write(tmp_path, classified()[:30]), kind="regression").notices
    assert "label 'y' has two values alone, 0 and 1: is it a class?" in told
    assert "few rows: 3 in valid, 3 in test; scores there hang on single rows" in told


def test_an_unknown_kind_of_label_is_named(tmp_path):
    with pytest.raises(UserError, match="no kind of label named 'multiclass'"):
        load(write(tmp_path, classified()), kind="multiclass")


def several(folder, *columns, kind="classification", split="s", header="smiles,a,b,s", **options):
    """80 rows of two labels, 60 of train, 10 of valid, 10 of test; a column is a function of the row's number."""
    words = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    rows = [
        ",".join([text, *(str(column(number)) for column in columns), words[number]])
        for number, text in enumerate(SMILES)
    ]
    path = write(folder, rows, header)
    return csv(device=CPU, path=path, label=["a", "b"], kind=kind, split=split, base="none", **options)


def test_a_label_that_train_cannot_teach_is_said_to_count_all_the_same(tmp_path):
    """Before, it was said not to be scored, and a head by lot was half of the score."""
    loaded = several(tmp_path, lambda n: n % 2, lambda n: "" if n < 60 else n % 2)
    told = "1 of 2 labels do not have both classes in train, so nothing is learned of them, and count in scores"
    assert f"{told} all the same: 'b'" in loaded.notices
    scores = np.column_stack([np.arange(10) % 2, np.zeros(10)])
    assert loaded.task.metric.compute(scores, loaded.task.valid.labels.numpy()) == 0.75, "1 for a, 0.5 for b"


def test_a_label_that_a_split_cannot_tell_is_named(tmp_path):
    loaded = several(tmp_path, lambda n: n % 2, lambda n: n % 2 if n < 60 else 1)
    for part in ("valid", "test"):
        assert f"1 of 2 labels do not have both classes in {part} and are not scored there: 'b'" in loaded.notices
    loaded = several(tmp_path, lambda n: n / 7, lambda n: n / 9 if n < 60 else "", kind="regression")
    assert "1 of 2 labels do not have a value in valid and are not scored there: 'b'" in loaded.notices


def test_a_score_that_no_label_of_train_can_reach_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"No label that the valid split can be scored on has both classes in train"):
        several(tmp_path, lambda n: n % 2 if n < 60 or n >= 70 else 1, lambda n: n % 2 if n >= 60 else "")


def test_labels_that_few_labelled_rows_cannot_teach_are_said(tmp_path):
    """No two rows have both classes of both; before, the whole train split alone was looked at."""
    known = {5: 0, 7: 1}
    told = several(tmp_path, lambda n: n % 2, lambda n: known.get(n, "") if n < 60 else n % 3 // 2, labelled=2).notices
    assert "labelled=2 leaves 1 of 2 labels without two values in train: 'b'; nothing is learned of them" in told


def test_classes_with_hardly_a_row_are_said_of_several_labels_too(tmp_path):
    told = several(tmp_path, lambda n: n % 2, lambda n: int(n % 10 == 0)).notices
    for part in ("valid", "test"):
        start = f"1 of 2 labels scored in {part} have fewer than 5 rows of a class there"
        assert f"{start}, and their scores hang on single rows: 'b'" in told


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        ({7: "1e9"}, r"1 of 80 values of label 'y' are far from all others (first: 1e+09, line 9; half of them lie"),
        ({7: "-999", 30: "-999"}, r"2 of 80 values of label 'y' are far from all others (first: -999, line 9; half"),
        ({7: "-30", 30: "-30"}, r"2 of 80 values of label 'y' are far from all others (first: -30, line 9; half"),
        ({7: "-30"}, ""),
    ],
)
def test_values_far_from_all_others_are_said(strange, told, tmp_path):
    rows = [f"{text},{strange.get(n, n % 20 / 10)}" for n, text in enumerate(SMILES)]
    found = [notice for notice in load(write(tmp_path, rows), kind="regression").notices if "far from all" in notice]
    assert len(found) == bool(told)
    assert all(notice.startswith(told) for notice in found)


def test_labels_of_unlike_spread_are_said(tmp_path):
    told = several(tmp_path, lambda n: n / 80, lambda n: 1e6 * n, kind="regression").notices
    assert any(
        notice.startswith("label 'b' spreads 80,000,000 times as far as 'a': a score is a mean") for notice in told
    )
    assert not any(
        "spreads" in notice for notice in several(tmp_path, lambda n: n, lambda n: 9 * n, kind="regression").notices
    )
