"""Inputs that read as something else than their author meant: each is refused or read exactly, with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from hpo_bench.data.corpus import sample_smiles
from hpo_bench.data.smiles import parse_smiles, rows_with_blank
from hpo_bench.data.table import read_table
from hpo_bench.data.tables.file import read_table_file
from hpo_bench.data.tables.values import classes, numbers
from hpo_bench.data.text_table import read_corpus, read_texts
from hpo_bench.errors import UserError


def write(folder: Path, content: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "cell", ["9007199254740993", "9007199254740993.0", "9.007199254740993e15", "-9007199254740993.000"]
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_integer_beyond_float64_is_refused_however_it_is_written(cell: str, form: str, tmp_path: Path) -> None:
    text = f"y\n1\n{cell}\n" if form == "csv" else f'{{"y": 1}}\n{{"y": {cell}}}\n'
    table = read_table_file(write(tmp_path, text, f"mine.{form}"))
    with pytest.raises(UserError, match=rf"line {3 if form == 'csv' else 2}: .* is beyond 2\^53"):
        numbers(table, 0)


@pytest.mark.parametrize(
    "cell",
    [
        "9007199254740992.0",
        "1.2345678901234567e+20",
        f"{1.2345678901234567e20:.18e}",
        f"{2.0**60:.18e}",
        "1" + "0" * 23,
    ],
)
def test_numbers_as_programs_write_float64_are_taken(cell: str, tmp_path: Path) -> None:
    assert numbers(read_table_file(write(tmp_path, f"y\n1\n{cell}\n")), 0)[1] == float(cell)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("1e-99999999999999999999", "too close to 0"),
        ("1e400", "too large for a float64"),
        ("9" * 5000, r"'9{57}'\.\.\. in column 'y' is too large"),
        ('"1,000"', "commas between thousands"),
        ('"1,5"', "Write decimals with a point"),
    ],
)
def test_a_number_that_cannot_be_held_is_told_why(cell: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        numbers(read_table_file(write(tmp_path, f"x,y\na,1\nb,{cell}\n")), 1)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("1e308 -1e308", "largest label .* 1e\\+308"),
        ("1 1e200", "largest label"),
        ("1e-200 3e-200", "spread .* 2e-200"),
    ],
)
def test_labels_whose_squares_leave_float64_are_refused(cells: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        numbers(read_table_file(write(tmp_path, "\n".join(["y", *cells.split()]))), 0)


@pytest.mark.parametrize("cells", ["1e-12 1e12", "1e-140 3e-140", "1e140 -1e140", "0 0", "1e-200 1e-200"])
def test_other_scales_are_taken(cells: str, tmp_path: Path) -> None:
    expected = [float(cell) for cell in cells.split()]
    assert numbers(read_table_file(write(tmp_path, "\n".join(["y", *cells.split()]))), 0).tolist() == expected


def test_nothing_is_nothing_whatever_its_exponent(tmp_path: Path) -> None:
    assert numbers(read_table_file(write(tmp_path, "y\n1\n0e-99999999999999999999\n")), 0).tolist() == [1.0, 0.0]


def test_classes_named_by_long_keys_stay_apart(tmp_path: Path) -> None:
    keys = ("1", "9007199254740992", "9007199254740993", "123456789012345678901", "123456789012345678902")
    found = classes(read_table_file(write(tmp_path, "y\n" + "\n".join(keys))), 0)
    assert found.names == keys
    assert found.codes.tolist() == [0, 1, 2, 3, 4]


def test_the_parts_of_two_files_put_together_are_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 3: the header is there again"):
        read_table_file(write(tmp_path, "text,label\na,x\n\ufefftext, label\nb,y\n"))
    read_table_file(write(tmp_path, "text\na\ntext\n"))  # one column of words: a word like any other


@pytest.mark.parametrize("first", ["sep=;\r", '"sep=;"\r\n', "SEP=;\n", "\ufeff\ufeffsep=;\n"])
def test_a_told_delimiter_in_every_spelling(first: str, tmp_path: Path) -> None:
    table = read_table_file(write(tmp_path, f'{first}"name";value\na;1,5\n'))
    assert (table.header, table.rows) == (("name", "value"), [["a", "1,5"]])


def test_what_the_bytes_are_is_told_rightly(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not UTF-16, .* truncated data") as cut:
        read_table_file(write(tmp_path, "a,b\n1,2\n".encode("utf-16")[:-1]))
    assert "WINDOWS-1252" not in str(cut.value)
    with pytest.raises(UserError, match="packed twice"):
        read_table_file(write(tmp_path, gzip.compress(gzip.compress(b"a,b\n1,2\n")), "a.csv.gz"))
    with pytest.raises(UserError, match="HTML"):
        read_corpus(write(tmp_path, "<!DOCTYPE html>\n<p>gone</p>\n", "corpus.txt"))
    with pytest.raises(UserError, match="null byte"):
        read_table_file("a\0b")


@pytest.mark.parametrize("where", ['"smiles": "C\\ud83d", "y": 1', '"smiles": "C", "y": "\\ud83d"', '"\\ud83d": 1'])
def test_half_of_a_character_is_refused_in_any_column(where: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: .* holds \\ud83d, half of a character"):
        read_table_file(write(tmp_path, f"{{{where}}}\n", "mine.jsonl"))


def test_keys_that_differ_in_blanks_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: two keys differ in blanks alone"):
        read_table_file(write(tmp_path, '{"y": 1}\n{"y": 1, "y ": 5}\n', "mine.jsonl"))
    apart = read_table_file(write(tmp_path, '{"y": 1.50}\n{" y": 2}\n', "mine.jsonl"))
    assert (apart.header, apart.rows) == (("y",), [["1.50"], ["2"]])


def test_lines_of_an_array_are_counted_with_any_line_end(tmp_path: Path) -> None:
    assert read_table_file(write(tmp_path, '[\r{"a": 1,\r"b": 2},\r\n{"a": 3}\n]', "mine.json")).lines == [2, 4]


def test_one_column_cannot_be_two_things(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,0\nb,1\n")
    with pytest.raises(UserError, match=r"'text' of .* is named for two things"):
        read_texts(path, "text", "text", "classification")
    with pytest.raises(UserError, match=r"'text' of .* is named for two things"):
        read_texts(path, "text", "label", "classification", text2="text")
    with pytest.raises(UserError, match=r"'label' of .* is named for two things"):
        read_table(path, "text", ["label"], kind="classification", split_column="label")


def test_a_corpus_has_the_lines_that_an_editor_shows(tmp_path: Path) -> None:
    texts, source = read_corpus(write(tmp_path, "one\u2028still one\n\ntwo\x0cstill two\rthree\n", "corpus.txt"))
    assert texts == ["one\u2028still one", "two\x0cstill two", "three"]
    assert source["blank_lines"] == 1


def test_a_corpus_of_json_is_known_by_its_content(tmp_path: Path) -> None:
    assert read_corpus(write(tmp_path, '{"text": "a"}\n{"text": "b"}\n', "corpus.txt"))[0] == ["a", "b"]
    assert sample_smiles(write(tmp_path, '{"smiles": "C"}\n{"smiles": "CC"}\n', "corpus.smi")) == ["C", "CC"]


def test_a_blank_in_a_smiles_is_seen(tmp_path: Path) -> None:
    smiles = ["CCO", "C C O", " CCN ", "CC\tname"]
    assert parse_smiles(smiles).canonical == ["CCO", "C", "CCN", "CC"]  # what RDKit makes of them
    assert rows_with_blank(smiles) == [1, 3]


def test_a_text_of_control_characters_is_empty_and_a_label_is_read_without_them(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\n\x01\x02\x1b,0\nring\x07 it,1\x7f\nb,0\nc,1\n")
    table = read_texts(path, "text", "label", "classification")
    assert (table.source["rows_without_text"], table.source["first_without_text"]) == (1, 2)
    assert table.first == ["ring\x07 it", "b", "c"]
    assert table.classes == ("0", "1")


def test_bytes_that_are_no_text_get_no_hint_at_an_encoding(tmp_path: Path) -> None:
    noise = bytes(np.random.default_rng(0).integers(1, 256, 2000, dtype=np.uint8))
    with pytest.raises(UserError, match="is no text") as told:
        read_table_file(write(tmp_path, b"PK" + noise))
    assert "1252" not in str(told.value)
    with pytest.raises(UserError, match="WINDOWS-1252"):
        read_table_file(write(tmp_path, "name,y\ncafé,1\n".encode("cp1252")))
