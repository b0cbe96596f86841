"""The result on one page, and its place in another text."""

import pytest
from synthetic import write_runs
from typer.testing import CliRunner

from hpo_bench.cli import app
from hpo_bench.compare.tables.brief import BEGIN, END, insert
from hpo_bench.errors import UserError


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nan old result\n{END}\nafter\n", encoding="utf-8")
    return path


def test_what_stood_between_the_markers_is_replaced_and_nothing_else(page):
    for _ in range(2):
        insert("new\n", page)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_line_ends_stay_as_they_are(page):
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    for _ in range(2):
        insert("new\n", page)
    assert page.read_bytes() == f"before\n{BEGIN}\nnew\n{END}\nafter\n".replace("\n", "\r\n").encode()


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}"])
def test_a_file_without_a_place_is_refused_and_left_alone(page, text):
    page.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="no place for the result"):
        insert("new\n", page)
    assert page.read_text(encoding="utf-8") == text


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="missing"):
        insert("new", tmp_path / "missing.md")


def test_a_file_in_another_encoding_is_refused_and_left_alone(page):
    page.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be changed"):
        insert("new", page)
    assert page.read_bytes() == b"\xff\xfe"


def test_the_command_puts_methods_by_tasks_into_the_page(tmp_path, page):
    runs = write_runs(tmp_path / "runs", methods=("equal", "tpe"), tasks=("bace", "esol"))
    words = ["compare", str(runs), "--out", str(tmp_path / "out"), "--no-figures", "--insert", str(page)]
    assert CliRunner().invoke(app, words).exit_code == 0
    lines = page.read_text(encoding="utf-8").splitlines()
    header = next(line for line in lines if line.startswith("| method"))
    assert header.startswith("| method | bace, ROC-AUC ↑ | esol, RMSE ↓ | gain over equal, % |")
    rows = [line.split(" | ") for line in lines if line.startswith(("| equal", "| tpe"))]
    assert [len(row) for row in rows] == [5, 5]
    assert all("±" in cell for row in rows for cell in row[1:3])
    assert any(line.startswith("- On esol") for line in lines)
