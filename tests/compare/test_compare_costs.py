"""Scores along the cost axis: exact small examples."""

import math

import numpy as np
import pytest

from hpo_bench.compare.stats.costs import Curve, band, best_so_far, common_axis, cost_to_reach, near_best, pareto_front


def test_best_so_far_skips_missing_values():
    curve = best_so_far([10, 20, 30, 40], [0.5, math.nan, 0.4, 0.7], True)
    assert curve.cost.tolist() == [10, 30, 40]
    assert curve.best.tolist() == [0.5, 0.5, 0.7]
    assert best_so_far([10, 20], [0.5, 0.4], False).best.tolist() == [0.5, 0.4]
    assert len(best_so_far([10], [math.nan], True).cost) == 0


def test_curve_steps_and_is_carried_on():
    curve = best_so_far([10, 20], [1.0, 2.0], True)
    assert curve.at(np.array([9, 10, 19, 20, 99])) == pytest.approx([math.nan, 1, 1, 2, 2], nan_ok=True)


def test_band_starts_when_every_run_has_a_score():
    curves = [best_so_far([10, 20], [1.0, 2.0], True), best_so_far([15], [3.0], True)]
    found = band(curves, np.array([10.0, 15.0, 20.0]), (0.0, 1.0))
    assert found.low == pytest.approx([math.nan, 1, 2], nan_ok=True)
    assert found.median == pytest.approx([math.nan, 2, 2.5], nan_ok=True)
    assert found.high == pytest.approx([math.nan, 3, 3], nan_ok=True)


def test_common_axis_reaches_from_first_to_last_score():
    axis = common_axis([best_so_far([10, 1000], [1, 2], True), best_so_far([20], [1], True)], points=3)
    assert axis == pytest.approx([10, 100, 1000])
    assert len(common_axis([])) == 0


def test_near_best():
    assert near_best([0.5, 0.8], True) == pytest.approx(0.792)
    assert near_best([1.0, 2.0], False) == pytest.approx(1 / 0.99)


def test_cost_to_reach_is_a_median_with_infinities():
    curves = [Curve(np.array([1.0, 2.0]), np.array([0.1, 0.9])), Curve(np.array([4.0]), np.array([0.95]))]
    assert cost_to_reach(curves, 0.9, True) == (3.0, 2)
    assert cost_to_reach([*curves, Curve(np.array([1.0]), np.array([0.1]))], 0.9, True) == (4.0, 2)
    assert cost_to_reach(curves[:1], 0.99, True) == (math.inf, 0)


def test_pareto_front():
    cost, score = np.array([1, 2, 2, 3, 4]), np.array([0.5, 0.7, 0.6, 0.7, 0.9])
    assert pareto_front(cost, score, True).tolist() == [True, True, False, False, True]
    assert pareto_front(cost, score, False).tolist() == [True, False, False, False, False]
    assert pareto_front(np.array([1, 1]), np.array([2.0, 2.0]), True).tolist() == [True, True]
