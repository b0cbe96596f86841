"""The one reader of tables: packings, encodings, layouts, and what no reader may take without a word."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hpo_bench.data.tables.file import read_table_file
from hpo_bench.data.tables.values import classes, number, numbers, tidy
from hpo_bench.errors import UserError

PLAIN = b"name,value\nalpha,1\nbeta,2\n"
ROWS = [["alpha", "1"], ["beta", "2"]]


def write(folder: Path, content: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the time: it is in a test's name
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (PLAIN, "a.csv"),
        (b"\xef\xbb\xbf" + PLAIN, "bom.csv"),
        (PLAIN.decode().encode("utf-16"), "wide.csv"),
        ("\ufeff".encode("utf-16-be") + PLAIN.decode().encode("utf-16-be"), "big_end.csv"),
        (PLAIN.decode().encode("utf-32"), "wider.csv"),
        (gzip.compress(PLAIN, mtime=0), "a.csv.gz"),
        (lzma.compress(PLAIN), "a.csv.xz"),
        (bz2.compress(PLAIN), "a.csv.bz2"),
        (bz2.compress(PLAIN), "by_another_name.csv"),
        (zipped({"a.csv": PLAIN}), "a.zip"),
        (zipped({"folder/a.csv": PLAIN, "__MACOSX/._a.csv": b"?"}), "mac.zip"),
        (PLAIN.replace(b"\n", b"\r\n"), "windows.csv"),
        (PLAIN.replace(b"\n", b"\r"), "old_mac.csv"),
        (PLAIN.replace(b",", b"\t"), "a.tsv"),
        (PLAIN.replace(b",", b"\t"), "tabs.csv"),
        (PLAIN, "commas.tsv"),
        (PLAIN.replace(b",", b"|"), "bars.txt"),
        (b"sep=;\n" + PLAIN.replace(b",", b";"), "excel.csv"),
        (b"name;value\nalpha;1\nbeta;2\n", "semicolon.csv"),
        (b'{"name": "alpha", "value": 1}\n\n{"name": "beta", "value": 2}\n', "a.jsonl"),
        (b'[{"name": "alpha", "value": 1},\n {"value": 2, "name": "beta"}]', "a.json"),
        (b"[\n]".replace(b"\n", b'{"name": "alpha", "value": 1}, {"name": "beta", "value": 2}'), "array.jsonl"),
        (gzip.compress(b'{"name": "alpha", "value": 1}\n{"name": "beta", "value": 2}', mtime=0), "a.ndjson.gz"),
    ],
)
def test_every_layout_gives_the_same_cells(content: bytes, name: str, tmp_path: Path) -> None:
    table = read_table_file(write(tmp_path, content, name))
    assert table.header == ("name", "value")
    assert table.rows == ROWS


def test_the_delimiter_is_checked_against_the_rows(tmp_path: Path) -> None:
    """A comma parts the header too, but not the rows."""
    table = read_table_file(write(tmp_path, "name, in full;value\nalpha;1\nbeta, the second;2\n"))
    assert table.header == ("name, in full", "value")
    assert table.rows == [["alpha", "1"], ["beta, the second", "2"]]


def test_a_very_long_field_is_a_field(tmp_path: Path) -> None:
    long = "word " * 60_000
    assert read_table_file(write(tmp_path, f"text,label\n{long},1\n")).rows == [[long, "1"]]


def test_lines_are_where_rows_start(tmp_path: Path) -> None:
    table = read_table_file(write(tmp_path, 'sep=,\n\na,b\n"two\nlines",1\n\nx,2\n'))
    assert table.lines == [4, 7]
    objects = read_table_file(write(tmp_path, '[\n {"a": 1},\n\n {"a":\n  2}, {"a": 3}\n]', "a.json"))
    assert objects.lines == [2, 4, 5]


def test_a_quoted_field_may_have_lines(tmp_path: Path) -> None:
    """Also such as have the table's number of cells, where no label stands at their ends."""
    text = 'text,label\n"Dear Sir, how\nare you, Sir?\nYours, M.",1\nshort,0\nother,1\n"say ""no""",0\n'
    table = read_table_file(write(tmp_path, text))
    assert [cells[1] for cells in table.rows] == ["1", "0", "1", "0"]
    assert table.rows[0][0].count("\n") == 2
    assert table.rows[3][0] == 'say "no"'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["text\tlabel", "fine\t1", '"opened\t0', "other\t1"], "line 3: a quotation mark is opened and never closed"),
        (["text\tlabel", "fine\t1", '"opened\t0', "other\t1", '"again\t1', "last\t0"], "line 3: .*noticed in line 5"),
        (
            ["text\tlabel", *["fine\t1", "good\t0"] * 4, '"opened\t0', "other\t1", 'closed"\t1', "last\t0"],
            "line 10: a quotation mark is opened here and closed in line 12, and the lines between look like rows",
        ),
        (
            ["text\tscore", *(f"fine\t{i / 7}" for i in range(40)), '"opened\t0.5', 'closed"\t1.25'],
            "line 42: a quotation mark is opened here and closed in line 43",
        ),
    ],
)
def test_an_open_quotation_mark_swallows_nothing(lines: list[str], told: str, tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(lines) + "\n", "a.tsv")
    with pytest.raises(UserError, match=told) as caught:
        read_table_file(path)
    assert "quoting=none" in caught.value.remedy
    assert len(read_table_file(path, "none").rows) == len(lines) - 1


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        ("a,b,a\n1,2,3\n", "a.csv", "two columns named 'a': number 1 and number 3"),
        ("a, a\n1,2\n", "a.csv", "two columns named 'a'"),
        ('{"a": 1, "a": 2}\n', "a.jsonl", "line 1: the key 'a' is there twice"),
        ('{"a": 1}\n{"a": [1, 2]}\n', "a.jsonl", "line 2: 'a' holds a list"),
        ('{"a": 1}\n\n{"a": {"b": 1}}\n', "a.jsonl", "line 3: 'a' holds an object"),
        ('{"a": 1}\n[1]\n', "a.jsonl", r"line 2: \[1\] is not an object"),
        ('[{"a": 1},\n 5]', "a.json", "line 2: 5 is not an object"),
        ('[{"a": 1}\n {"a": 2}]', "a.json", "after the object of line 1"),
        ('[{"a": 1}', "a.json", "after the object of line 1"),
        ('[{"a": 1}] x', "a.json", "something follows"),
        ("[" * 100_000, "a.json", "brackets too deep"),
        ("[]", "a.json", "nothing in it"),
        ("", "a.csv", "nothing in it"),
        ("a,b\n", "a.csv", "a header, but no rows"),
        ("a,b\n1,2\n1,2,3\n", "a.csv", "line 3: 3 cells where the header has 2"),
        (b"a,b\n1,\xff\n", "a.csv", "line 2: byte 0xff is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "a.csv", "NUL"),
        (zipped({"a.csv": PLAIN, "b.csv": PLAIN}), "a.zip", r"holds 2 files \(a.csv, b.csv\)"),
        (zipped({}), "a.zip", "holds 0 files"),
        (b"PK\x03\x04 no zip", "a.zip", "broken zip"),
        (lzma.compress(PLAIN)[:-9], "a.csv.xz", "broken xz"),
        (bz2.compress(PLAIN)[:-9], "a.csv.bz2", "broken bzip2"),
        (b"PAR1....", "a.parquet", "Parquet"),
        (b"<!doctype html><title>404</title>", "a.csv", "HTML"),
    ],
)
def test_what_is_refused_says_why(content: str | bytes, name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read_table_file(write(tmp_path, content, name))
    assert caught.value.remedy


def test_a_fifo_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="no ordinary file"):
        read_table_file(tmp_path / "pipe.csv")


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1.0), ("-.5", -0.5), ("+2.", 2.0), ("1e-9", 1e-9), ("1E+39", 1e39)],
)
def test_numbers(cell: str, value: float) -> None:
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["1_0", "١٢", "１", "inf", "nan", "0x10", "1,5", "1e400", "", "1 2", "--1", "1.2.3"])
def test_what_python_would_take_for_a_number_and_nobody_else(cell: str) -> None:
    assert number(cell) is None


@pytest.mark.parametrize(
    ("cell", "told", "remedy"),
    [
        ("1_0", "line 3: '1_0' in column 'y' is not a number", "decimal point"),
        ("1,5", "line 3: '1,5' in column 'y' is not a number", "with a point"),
        ("\u22125", "line 3: '\u22125' in column 'y' is not a number", "minus as -"),
        ("٣", "line 3: '٣' in column 'y' is not a number", "0 to 9"),
        ("9007199254740993", "beyond 2\\^53", "offset"),
        ("1e-400", "too close to 0", "unit"),
    ],
)
def test_a_label_that_is_no_number_is_named_by_its_line(cell: str, told: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as caught:
        numbers(read_table_file(write(tmp_path, f'x;y\na;1\nb;"{cell}"\n')), 1)
    assert remedy in caught.value.remedy


def test_large_and_missing_numbers(tmp_path: Path) -> None:
    cells = ["1e39", "9007199254740992", "NA", "None", "", "null", "-1.5e-9", " <NA> "]
    table = read_table_file(write(tmp_path, "x,y\n" + "".join(f"a,{cell}\n" for cell in cells)))
    np.testing.assert_array_equal(numbers(table, 1), [1e39, 2.0**53, *[np.nan] * 4, -1.5e-9, np.nan])


def column(tmp_path: Path, cells: list[object]):
    lines = "".join(json.dumps({"y": cell, "x": "."}) + "\n" for cell in cells)
    return read_table_file(write(tmp_path, lines, "a.jsonl"))


@pytest.mark.parametrize(
    ("cells", "names", "codes"),
    [
        ([1, 1.0, "1", 0, "0.0", None], ("0", "1"), [1, 1, 1, 0, 0, np.nan]),
        ([True, False, "true"], ("false", "true"), [1, 0, 1]),
        (["active", "inactive", "NA"], ("inactive", "active"), [1, 0, np.nan]),
        (["Yes", "No"], ("No", "Yes"), [1, 0]),
        ([10, 9, 2.5], ("2.5", "9", "10"), [2, 1, 0]),
        (["good", "bad", "fair", "\u200bgood "], ("bad", "fair", "good"), [2, 0, 1, 2]),
        ([1, -1], ("-1", "1"), [1, 0]),
    ],
)
def test_one_class_is_one_class(cells: list, names: tuple, codes: list, tmp_path: Path) -> None:
    found = classes(column(tmp_path, cells), 0)
    assert found.names == names
    np.testing.assert_array_equal(found.codes, codes)
    assert bool(found.note) == (names != ("0", "1"))


@pytest.mark.parametrize(
    "pair", [("Positive", "positive"), ("not  toxic", "not toxic"), ("caf\u00e9", "cafe\u0301"), ("\uff21", "a")]
)
def test_classes_that_look_alike_are_refused_with_both_lines(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in line 2 and .* in line 4 of column 'y' differ only"):
        classes(column(tmp_path, ["other", pair[0], "other", pair[1]]), 0)


def test_tidy_takes_off_what_nobody_sees() -> None:
    assert tidy(" \u200bCCO\ufeff\u00a0") == "CCO"
    assert tidy("Zo\u00eb") == "Zo\u00eb"


def test_a_name_with_commas_can_be_named(tmp_path: Path) -> None:
    table = read_table_file(write(tmp_path, 'x,"active, yes/no",z\n1,2,3\n'))
    assert table.places(["active", "yes/no"], "label column", "--label") == [1]
    assert table.places(["z", "active", "yes/no", "x"], "label column", "--label") == [2, 1, 0]
    with pytest.raises(UserError, match="no label column 'yes'"):
        table.places(["yes"], "label column", "--label")
    both = read_table_file(write(tmp_path, 'a,b,"a,b"\n1,2,3\n'))
    with pytest.raises(UserError, match="has a column 'a,b', and columns 'a' and 'b' too"):
        both.places(["a", "b"], "label column", "--label")
    with pytest.raises(UserError, match="named twice"):
        both.places(["a", "a"], "label column", "--label")
