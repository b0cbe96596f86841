"""Power of the paired t-test against the values that every table has (Cohen 1988; G*Power), and against draws."""

import math

import numpy as np
import pytest
from scipy import stats
from synthetic import write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.stats.power import detectable, power, seeds_needed, typical_sd


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_as_in_the_tables(effect, seeds):
    assert seeds_needed(effect, 1.0) == seeds
    assert seeds_needed(-effect / 1000, 0.001) == seeds  # neither sign nor unit counts


def test_power_as_in_the_tables():
    assert power(0.5, 1.0, 34) == pytest.approx(0.8078, abs=5e-5)
    assert power(0.0, 1.0, 7) == pytest.approx(0.05)


def test_five_seeds_against_draws():
    rng = np.random.default_rng(0)
    edge = detectable(0.02, 5)
    drawn = rng.normal(edge, 0.02, (20_000, 5))
    found = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.012)  # four standard errors


def test_what_is_detected_needs_so_many_seeds():
    for n in (2, 3, 5, 30):
        assert seeds_needed(detectable(0.3, n) * (1 + 1e-9), 0.3) == n


def test_the_typical_method_decides_and_not_the_worst():
    """Two values with a variance of 2: the median of chi-square with one degree of freedom is 0.4549."""
    one, wild = np.array([0.0, 2.0]), np.array([0.0, 2000.0])
    assert typical_sd([one, one, wild]) == pytest.approx(math.sqrt(2 / 0.454936), rel=1e-5)
    rng = np.random.default_rng(0)
    drawn = [typical_sd([own]) for own in rng.normal(size=(4000, 3))]
    assert np.mean(np.array(drawn) > 1) == pytest.approx(0.5, abs=0.03)


def test_ends():
    assert math.isnan(detectable(1.0, 1))
    assert detectable(0.0, 3) == 0
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2


def test_compare_says_it_in_one_sentence(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe", "grid"), repetitions=4)
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    (entry,) = found.verdicts
    assert entry.power.startswith("On bace 4 paired seeds find a true difference to equal of 0.0")
    assert entry.power in str(found).replace("\n", " ")
    assert entry.power in (tmp_path / "out" / "report.html").read_text()


def test_one_seed_says_nothing(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe"), repetitions=1)
    assert compare(tmp_path / "runs", tmp_path / "out", figures=False).verdicts[0].power == ""
