import math

import pytest

from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.tables.table import plus_minus, signed
from hpo_bench.records.shown import shown


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.79312, 4, "0.7931"),
        (0.0, 4, "0.0000"),
        (3.2101e-9, 4, "3.2101e-09"),
        (-3.2101e-9, 3, "-3.21e-09"),
        (0.793, 3, "0.793"),
        (1234.5678, 4, "1234.6"),
        (2.5e12, 3, "2.5e+12"),
        (math.nan, 4, "–"),
    ],
)
def test_a_score_always_shows_digits(value, decimals, text):
    assert shown(value, decimals) == text


def test_a_mean_and_its_interval_are_printed_alike():
    assert plus_minus(Estimate(0.793, 0.768, 0.818)) == "0.793 ± 0.025"
    assert plus_minus(Estimate(3.2e-9, 3.1e-9, 3.3e-9)) == "3.2e-09 ± 1e-10"
    assert signed(Estimate(-0.0004, -0.0324, 0.0316)) == "-0.000 ± 0.032"
    assert signed(Estimate(2e-10, -1e-10, 5e-10)) == "+2e-10 ± 3e-10"


def test_a_score_that_is_missing_is_a_dash():
    assert shown(None) == shown(float("nan")) == "–"
