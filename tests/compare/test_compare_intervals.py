"""Intervals: exact small examples, and one simulation of their coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from hpo_bench.compare.stats.intervals import (
    Estimate,
    iqm,
    mean_interval,
    mean_of_means,
    pooled_iqm,
    repetition_means,
    share_interval,
    stratified_interval,
)


def test_repetition_means_leave_gaps_out():
    scores = np.array([[1.0, 3.0], [np.nan, 5.0], [np.nan, np.nan]])
    assert repetition_means(scores).tolist() == [2.0, 5.0]
    assert repetition_means(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_mean_interval_is_students_interval_over_repetitions():
    """Repetition means 1, 2, 3: standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    found = mean_interval(np.array([[0.0, 2.0], [1.0, 3.0], [3.0, 3.0]]))
    assert found.value == 2.0
    assert found.n == 3
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_one_repetition_has_no_interval():
    found = mean_interval(np.array([[0.7, 0.8, 0.9]]))
    assert found.value == pytest.approx(0.8)
    assert not found.has_interval
    assert not found.excludes(0)
    assert math.isnan(mean_interval(np.full((2, 2), np.nan)).value)


def test_excludes():
    assert Estimate(1.0, 0.5, 1.5, 3).excludes(0)
    assert not Estimate(1.0, -0.5, 1.5, 3).excludes(0)


def test_interquartile_mean():
    """Of eight values the two lowest and the two highest go."""
    assert iqm(np.array([[-100, 1, 2, 3], [4, 5, 6, 900.0]])) == 3.5
    assert pooled_iqm([np.array([[-100, 1, 2, 3.0]]), np.array([[4, 5, 6, 900.0]])]).tolist() == [3.5]
    assert pooled_iqm([np.array([[-9, 1, np.nan]]), np.array([[2, 9.0]])]).tolist() == [1.5]


def test_mean_of_means_gives_every_task_the_same_say():
    assert mean_of_means([np.array([[1.0, 1.0, 1.0]]), np.array([[3.0]])]).tolist() == [2.0]


def test_stratified_interval_of_a_mean_is_close_to_its_closed_form():
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    found = stratified_interval([values], mean_of_means, np.random.default_rng(0), resamples=20_000)
    assert found.value == 5.0
    assert found.half_width == pytest.approx(mean_interval(values).half_width, rel=0.03)


def test_stratified_interval_needs_two_repetitions_a_stratum():
    found = stratified_interval([np.array([1.0]), np.array([1.0, 2.0])], mean_of_means, np.random.default_rng(0))
    assert not found.has_interval


def test_stratified_interval_follows_the_generator():
    strata = [np.array([1.0, 2.0, 4.0]), np.array([3.0, 3.5, 9.0])]
    first, second = (stratified_interval(strata, pooled_iqm, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_share_interval_is_clopper_pearson():
    """3 of 3: the lower end solves p^3 = 0.025."""
    found = share_interval(3, 3)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 3))
    exact = stats.binomtest(4, 9).proportion_ci(method="exact")
    found = share_interval(4, 9)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("repetitions", [3, 5, 9])
def test_mean_interval_covers_95_percent(repetitions: int):
    """Between-repetition and within-repetition noise as on BACE; 4,000 data sets, Monte-Carlo error 0.35 %."""
    rng = np.random.default_rng(repetitions)
    between = rng.normal(0, 0.010, size=(4000, repetitions, 1))
    scores = 0.78 + between + rng.normal(0, 0.015, size=(4000, repetitions, 3))
    covered = [not mean_interval(data).excludes(0.78) for data in scores]
    assert 0.93 <= np.mean(covered) <= 0.97
