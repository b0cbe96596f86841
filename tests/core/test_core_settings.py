"""Words as values: finite numbers in ASCII digits, true is not 1, choices as they are written."""

from dataclasses import dataclass
from typing import Literal

import pytest

from hpo_bench.core.budget import Budget
from hpo_bench.core.settings import read_settings, real, whole
from hpo_bench.errors import UserError
from hpo_bench.run.task_options import read as read_task_options


@dataclass
class Options:
    count: int = 1
    rate: float = 0.5
    maybe: int | None = None
    flag: bool = False
    levels: Literal[2, 3] = 3
    name: str = ""


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("+7", 7), ("-12", -12), ("9" * 18, 10**18 - 1)])
def test_whole_numbers(text, value):
    assert whole(text) == value


@pytest.mark.parametrize("text", ["", "x", "1.0", "1e3", "1_0", "١", "²", " 1", "0x1", "nan", "1" * 19, "true"])
def test_no_whole_numbers(text):
    assert whole(text) is None


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), (".5", 0.5), ("1.", 1.0), ("-1e-3", -1e-3), ("2E+2", 200.0)])
def test_real_numbers(text, value):
    assert real(text) == value


@pytest.mark.parametrize("text", ["", ".", "e3", "nan", "inf", "-Infinity", "1e999", "1_0.0", "٠.٥", "1,5", "1e9999"])
def test_no_real_numbers(text):
    assert real(text) is None


def test_values_are_read_as_their_types():
    given = {"count": "3", "rate": "1e-2", "maybe": "4", "flag": "true", "levels": "2", "name": "1"}
    assert read_settings(Options, given, "option") == Options(3, 0.01, 4, True, 2, "1")
    assert read_settings(Options, {"rate": 1, "maybe": None, "flag": False}, "option") == Options(rate=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("count", value) for value in (True, False, "1_0", "1.5", 1.5, float("nan"), float("inf"), "", "x", [])),
        *(("rate", value) for value in (True, "nan", "inf", float("inf"), "x", {})),
        *(("maybe", value) for value in (True, "none")),
        ("flag", "maybe"),
        ("levels", "4"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"option {name}"):
        read_settings(Options, {name: value}, "option")


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_0", "١", "1e999", "-1", "0", "16t,8", "5000se,,", "s"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="budget"):
        Budget.parse(text)


def test_task_options_that_read_as_numbers_are_numbers():
    given = {"a": "3", "b": "0.5", "c": "nan", "d": "1_0", "e": "1" * 40}
    assert read_task_options(given) == {**given, "a": 3, "b": 0.5, "e": float("1" * 40)}
