"""Performance profiles, probability of improvement and Nemenyi's test over tasks, by hand."""

import numpy as np
import pytest
from synthetic import write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.stats.aggregate import mean_improvement
from hpo_bench.compare.stats.profiles import profile
from hpo_bench.compare.stats.ranks import critical_difference, nemenyi

NAN = float("nan")


def test_a_profile_by_hand():
    """Ratios (1, 2), (1, 1) and (2, 1): both are best twice in three tasks, and never worse than twice the best."""
    found = profile(np.array([[1, 2], [2, 2], [3, 1.5]]), ("a", "b"))
    np.testing.assert_allclose(found.ratios, [[1, 2], [1, 1], [2, 1]])
    np.testing.assert_allclose(found.within(1), [2 / 3, 2 / 3])
    np.testing.assert_allclose(found.within(1.99), [2 / 3, 2 / 3])
    np.testing.assert_allclose(found.within(2), [1, 1])


def test_a_method_that_was_not_run_is_within_nothing():
    found = profile(np.array([[1, NAN, 2], [2, 1, 1], [NAN, NAN, 5], [0, 1, 1]]), ("a", "b", "c"))
    np.testing.assert_allclose(found.ratios, [[1, np.inf, 2], [2, 1, 1]])  # one method alone, a best error of 0
    np.testing.assert_allclose(found.within(1e9), [1, 0.5, 1])


def test_one_task_has_no_profile():
    assert profile(np.array([[1, 2]]), ("a", "b")) is None


def test_mean_improvement_by_hand():
    """4 of 5 and 3 of 5 pairs: 0.7, with Clopper and Pearson's interval for 7 of 10."""
    strata = [np.array([[1], [1], [1], [1], [-1.0]]), np.array([[1], [1], [1], [-1], [-1.0]])]
    found = mean_improvement(strata)
    assert (found.value, found.n) == (pytest.approx(0.7), 10)
    assert (found.low, found.high) == (pytest.approx(0.34755, abs=1e-5), pytest.approx(0.93326, abs=1e-5))
    assert mean_improvement([np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])]).value == pytest.approx(0.875)


def test_tasks_weigh_alike_however_many_repetitions_they_have():
    """2 of 2 and 0 of 8 are 1/2 with n = 4 / (1/2 + 1/8) = 6.4 observations."""
    found = mean_improvement([np.ones((2, 1)), -np.ones((8, 1))])
    assert (found.value, found.n) == (pytest.approx(0.5), 6)
    assert 0.5 - found.low == pytest.approx(found.high - 0.5)


def test_nemenyi_is_five_per_cent_at_the_critical_difference():
    gap = critical_difference(5, 12)
    assert gap == pytest.approx(2.728 * np.sqrt(5 * 6 / 72), abs=1e-3)  # q of Demšar's table 5
    p = nemenyi(np.array([1, 1 + gap, 3, 3, 3]), 12)
    assert p[0, 1] == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_allclose(np.diag(p), 1)


def test_the_table_of_a_comparison(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe", "grid"), tasks=("bace", "esol", "bbbp"))
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    gains, matrix = found.matrices()
    assert gains.columns[-2:] == ("better, %", "average rank")
    assert sum(int(row[1]) for row in matrix.rows) >= 3  # somebody is the best on every task
    assert matrix.markdown() in (tmp_path / "out" / "table.md").read_text()
