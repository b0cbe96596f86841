"""Paired comparisons: exact small examples."""

import math

import numpy as np
import pytest

from hpo_bench.compare.stats.paired import (
    compare_paired,
    holm,
    probability_of_improvement,
    sign_flip_test,
    wilcoxon_test,
)

RNG = np.random.default_rng(0)


def test_sign_flip_of_three_equal_signs_is_a_quarter():
    """8 patterns; only +++ and --- reach the observed sum."""
    assert sign_flip_test(np.array([1.0, 2.0, 3.0]), RNG) == 0.25


def test_sign_flip_counts_every_pattern_that_is_as_extreme():
    """Sums of ±1 ±2 ±3 are 6, 4, 2, 0, 0, -2, -4, -6; the observed 2 is reached by six of eight."""
    assert sign_flip_test(np.array([1.0, -2.0, 3.0]), RNG) == 0.75


def test_sign_flip_samples_patterns_beyond_fourteen():
    differences = np.full(20, 1.0)
    assert sign_flip_test(differences, RNG) < 0.001
    assert math.isnan(sign_flip_test(differences[:1], RNG))


def test_no_difference_at_all_has_p_one():
    assert sign_flip_test(np.zeros(4), RNG) == 1.0


def test_wilcoxon_of_six_positive_differences():
    """Two-sided exact: 2 / 2^6."""
    assert wilcoxon_test(np.arange(1.0, 7.0)) == pytest.approx(2 / 64)
    assert math.isnan(wilcoxon_test(np.zeros(5)))


def test_holm():
    """Sorted 0.01, 0.02, 0.04 times 3, 2, 1, made monotone; NaN does not count."""
    assert holm(np.array([0.04, np.nan, 0.01, 0.02])) == pytest.approx([0.04, math.nan, 0.03, 0.04], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_probability_of_improvement_counts_ties_half():
    found = probability_of_improvement(np.array([[1.0, -1.0], [0.0, 2.0]]))
    assert found.value == pytest.approx((0.5 + 0.75) / 2)
    assert found.n == 2
    assert not probability_of_improvement(np.array([[1.0, 1.0, -1.0]])).has_interval


def test_compare_paired_uses_shared_cells_alone():
    scores = np.array([[2.0, 9.0], [3.0, 3.0]])
    reference = np.array([[1.0, np.nan], [1.0, 1.0]])
    found = compare_paired(scores, reference, RNG)
    assert found.difference.value == pytest.approx(1.5)
    assert found.improvement.value == 1.0
    lower = compare_paired(scores, reference, RNG, higher_is_better=False)
    assert lower.improvement.value == 0.0
    assert lower.difference.value == pytest.approx(1.5)
