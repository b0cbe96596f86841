"""Tables as programs export them: read as meant, or refused with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpo_bench.data.table import read_table
from hpo_bench.data.tables.file import read_table_file
from hpo_bench.data.tables.values import classes, numbers
from hpo_bench.data.text_table import read_texts
from hpo_bench.errors import UserError


def write(folder: Path, content: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (">10", "A bound is no measurement"),
        ("<= 0.1", "A bound is no measurement"),
        ("~5", "A bound is no measurement"),
        ("12.5%", "percent sign"),
        ("12.5 %", "percent sign"),
        ("5 nM", "Leave out the unit"),
        ("5µM", "Leave out the unit"),
        ("1e-3mol/L", "Leave out the unit"),
        ("5.1±0.2", "uncertainty"),
        ("5.1 +/- 0.2", "uncertainty"),
        ("2024-01-31", "looks like a date"),
        ("31.01.2024 10:15", "looks like a date"),
        ("1/31/24", "looks like a date"),
        ("5-10", "Give one value"),
        ('="5.1"', "formula of a spreadsheet"),
        ("5.1D+02", "exponents with e"),
        ("0,5", "Write decimals with a point"),
        ("1,000,000", "commas between thousands"),
        ("1 000", "what parts thousands"),
        ("1.000.000", "what parts thousands"),
        ("1'000.5", "what parts thousands"),
        ("−5", "the sign of the keyboard"),
        ("٣", "digits as 0 to 9"),
        ("nearly", "finite numbers with a decimal point"),
    ],
)
def test_what_is_no_number_is_told_by_what_it_is(cell: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: .* in column 'y' is not a number") as caught:
        numbers(read_table_file(write(tmp_path, f"x;y\na;1\nb;{cell}\n")), 1)
    assert told in caught.value.remedy


def test_the_index_that_pandas_writes_and_empty_columns_are_left_alone(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, ",smiles,y,,\n0,C,1.5,,\n1,CC,2.5,,\n"), "smiles", ["y"], kind="regression")
    assert (table.smiles, table.labels.tolist()) == (["C", "CC"], [[1.5], [2.5]])


@pytest.mark.parametrize("content", ["smiles,y\nC,1,\nCC,2,\n", "smiles\ty\nC\t1\t\nCC\t2\t\n"])
def test_a_delimiter_too_many_is_told(content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: 3 cells where the header has 2") as caught:
        read_table_file(write(tmp_path, content))
    assert "too many" in caught.value.remedy


def test_lines_of_comment_and_a_missing_header_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: 2 cells where the header has 1") as caught:
        read_table_file(write(tmp_path, "# made by a tool\nsmiles,y\nC,1\n"))
    assert "comment" in caught.value.remedy
    for name, content in (("a.csv", "CCO,3.0\nCCN,1.5\n"), ("b.txt", "__label__1 a fine film\n__label__0 dull\n")):
        with pytest.raises(UserError, match="first line looks like data"):
            read_table(write(tmp_path, content, name), "smiles", ["y"])
    with pytest.raises(UserError, match="Did you mean 'Text'"):
        read_texts(write(tmp_path, "Text,Label\na,1\nb,0\n"), "text", "Label", "classification")


def test_other_chemistry_and_other_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an SD file or a molfile"):
        read_table_file(write(tmp_path, "\n  RDKit\n\n  1  0\nM  END\n> <y>\n1.0\n\n$$$$\n"))
    rows = [f"text {number}" for number in range(30)]
    for content in (
        {"text": rows, "label": rows},
        {"data": [{"text": text} for text in rows]},
        {"text": dict(enumerate(rows))},
    ):
        with pytest.raises(UserError, match="is the whole table in one object") as caught:
            read_table_file(write(tmp_path, json.dumps(content), "mine.json"))
        assert "orient='records'" in caught.value.remedy


def test_backslashes_before_quotation_marks_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: a quotation mark") as caught:
        read_table_file(write(tmp_path, 'text,label\n"a \\"fine\\" film",1\n'))
    assert 'not \\"' in caught.value.remedy


def test_a_name_with_an_accent_is_one_name_however_it_is_composed(tmp_path: Path) -> None:
    table = read_table_file(write(tmp_path, "te\u0301xt,label\na,1\n"))
    assert table.place("t\u00e9xt", "column", "--x") == 0
    with pytest.raises(UserError, match="two columns named"):
        read_table_file(write(tmp_path, "te\u0301xt,t\u00e9xt\na,1\n"))


@pytest.mark.parametrize("words", [("true", "1", "false", "0"), ("yes", "no", "1"), ("Yes", "no", "true")])
def test_yes_and_no_in_several_spellings_are_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two classes in several spellings") as caught:
        classes(read_table_file(write(tmp_path, "\n".join(["y", *words]))), 0)
    assert f"{words[0]!r} in line 2" in caught.value.message


@pytest.mark.parametrize("words", [("-1", "0", "1"), ("negative", "neutral", "positive"), ("a", "n", "y")])
def test_three_classes_stay_three(words: tuple[str, ...], tmp_path: Path) -> None:
    assert set(classes(read_table_file(write(tmp_path, "\n".join(["y", *words]))), 0).names) == set(words)


def test_a_class_of_one_row_is_said_with_its_line(tmp_path: Path) -> None:
    found = classes(read_table_file(write(tmp_path, "y\nint\n" + "a\nb\n" * 9)), 0)
    assert "'int' is 2 (line 2 alone)" in found.note
