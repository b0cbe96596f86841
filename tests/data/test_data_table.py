"""Reading tables: every layout of the catalogue sets, and every fault of a user's own file."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpo_bench.data import DATASETS, load_table, read_table
from hpo_bench.data.tables.values import classes, numbers
from hpo_bench.errors import UserError

GOOD = "smiles,a,b\nCCO,0,1.5\nCC,1,\nC,,\nCCC,1,2.5\n"


def write(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_values_missing_labels_and_source(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, GOOD), "smiles", ["a", "b"])
    assert table.smiles == ["CCO", "CC", "CCC"]
    np.testing.assert_array_equal(table.labels, [[0, 1.5], [1, np.nan], [1, 2.5]])
    assert table.kind == "regression"
    assert table.lines.tolist() == [2, 3, 5]
    assert table.source["rows"] == 4
    assert table.source["rows_without_label"] == 1
    assert len(table.source["sha256"]) == 64


def test_kind_is_inferred_and_labels_default_to_all_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "s,x,fold\nC,0,train\nCC,1,test\nCCC,0,valid\n")
    table = read_table(path, "s", split_column="fold")
    assert (table.kind, table.label_names, table.split) == ("classification", ("x",), ["train", "test", "valid"])
    assert table.take(np.array([2, 0])).split == ["valid", "train"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbfsmiles,y\nC,0\nCC,1\n", "bom.csv"),
        (b"smiles\ty\r\nC\t0\r\nCC\t1\r\n", "crlf.tsv"),
        (b"smiles;y\nC;0\nCC;1\n", "semicolon.csv"),
        (gzip.compress(b"smiles,y\nC,0\nCC,1\n", mtime=0), "zipped.csv.gz"),
        (gzip.compress(b"smiles,y\nC,0\nCC,1\n", mtime=0), "zipped_by_another_name.csv"),
        (b'smiles,y,"a, b"\nC,0,"x\ny"\n\nCC,1,z\n', "quoted.csv"),
    ],
)
def test_layouts(content: bytes, name: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path, content, name), "smiles", ["y"])
    assert table.smiles == ["C", "CC"]
    assert table.labels.tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing in it"),
        ("smiles,y\n", "a header, but no rows"),
        ("smile,y\nC,0\n", "no SMILES column 'smiles'. Did you mean 'smile'"),
        ("smiles,Y_1\nC,0\n", "no label column 'y'"),
        ("smiles,y\nC,0\nCC,high\n", "line 3: 'high' in column 'y'; a class is 0 or 1"),
        ("smiles,y\nC,0\nCC,inf\n", "line 3: 'inf'"),
        ("smiles,y\nC,\nCC,nan\n", "every label is missing"),
        ("smiles,y,z\nC,0,\nCC,1,\n", "column 'z' has no label at all"),
        ("smiles,y\nC,1\nCC,1\n", "only one class, 1"),
        ("smiles,y\nC,0\nCC,1\nCCC,2\n", "line 4: '2' in column 'y'; a class is 0 or 1"),
        ("smiles,y\nC,0\nCC,1,1\n", "line 3: 3 cells where the header has 2"),
        ("smiles,y\nC,0\nCC\n", "line 3: 1 cells where the header has 2"),
        ("smiles,y,y\nC,0,1\nCC,1,1\n", "two columns named 'y': number 2 and number 3"),
        (b"smiles,y\nC,0\n\xe9,1\n", "line 3: byte 0xe9 is not UTF-8"),
        (gzip.compress(b"smiles,y\nC,0\n" * 50, mtime=0)[:-9], "broken gzip"),
    ],
)
def test_faults_are_named_with_a_remedy(text: str | bytes, message: str, tmp_path: Path) -> None:
    labels = ["y", "z"] if isinstance(text, str) and ",z" in text else ["y"]
    with pytest.raises(UserError) as caught:
        read_table(write(tmp_path, text), "smiles", labels, kind="classification")
    assert message in caught.value.message
    assert caught.value.remedy


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path)


def test_constant_regression_label(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"only one value, 2\.5"):
        read_table(write(tmp_path, "smiles,y\nC,2.5\nCC,2.5\n"), "smiles", ["y"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "qm8" else ())  # an SD file of 21,786 molecules: 50 s
        for name in DATASETS
        if name not in ("toxcast", "muv")
    ],
)
def test_collected_files_have_the_known_shape(name: str, shared_data: Path) -> None:
    table = load_table(name, shared_data)
    dataset = DATASETS[name]
    assert table.labels.shape == (dataset.rows, dataset.num_labels)
    assert table.source["pinned"]
    assert table.kind == dataset.kind


def test_package_and_collected_copy_of_bace_agree(bace_cache: Path, shared_data: Path) -> None:
    ours, theirs = load_table("bace"), load_table("bace", shared_data)
    assert ours.source["provider"] == "cache"
    assert theirs.source["provider"] == "data-dir"
    assert ours.smiles == theirs.smiles
    assert ours.label_names == theirs.label_names == ("Class",)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_hiv_activities_become_classes(tmp_path: Path) -> None:
    write(tmp_path, "smiles,target\nC,CI\nCC,CM\nCCC,CA\n", "hiv.csv")
    assert load_table("hiv", tmp_path).labels.ravel().tolist() == [0.0, 1.0, 1.0]


def test_moleculenet_layouts(tmp_path: Path) -> None:
    write(tmp_path, "num,name,p_np,smiles\n1,x,1,C\n2,y,0,CC\n", "BBBP.csv")
    write(tmp_path, "iupac,smiles,expt,calc\nx,C,-1.5,0\ny,CC,2,0\n", "SAMPL.csv")
    assert load_table("bbbp", tmp_path).smiles == ["C", "CC"]
    assert load_table("freesolv", tmp_path).labels.ravel().tolist() == [-1.5, 2.0]


def test_another_file_under_a_data_sets_name(tmp_path: Path) -> None:
    write(tmp_path, "smiles,p_np\nC,1\n", "bace.csv")
    with pytest.raises(UserError, match="no label column 'Class' or 'target'"):
        load_table("bace", tmp_path)
    write(tmp_path, "smiles,a,b\nC,1,0\n", "sider.csv")
    with pytest.raises(UserError, match="2 label columns, sider has 27"):
        load_table("sider", tmp_path)


class Column(list):
    """Cells that may be walked through, and not searched for each of them: 22,000 numbers would take a minute."""

    def index(self, *_):
        pytest.fail("a search for every cell is quadratic")


def test_a_column_of_many_different_cells_is_read_in_one_walk() -> None:
    cells = Column(["0.5", "2", " 0.5", "x", "2"])
    table = SimpleNamespace(
        column=lambda place: cells, lines=[2, 3, 5, 6, 9], header=["y"], path="a.csv", at="{}".format
    )
    with pytest.raises(UserError, match=r"6: 'x' in column 'y' is not a number"):
        numbers(table, 0)
    assert numbers(table, 0, {"x": 7.0}).tolist() == [0.5, 2.0, 0.5, 7.0, 2.0]
    found = classes(table, 0)
    assert (found.names, found.codes.tolist()) == (("0.5", "2", "x"), [0.0, 1.0, 0.0, 2.0, 1.0])
    assert "'x' is 2 (line 6 alone)" in found.note


def test_a_file_of_smiles_and_names_parted_by_blanks_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.smi"
    path.write_text("CCO ethanol\nCCN ethylamine\n")
    with pytest.raises(UserError, match=r"no SMILES column 'smiles'. Are its cells parted by blanks, as in a \.smi"):
        read_table(path, label_columns=["active"])
