"""Variance components, ranks and gains over tasks: exact small examples."""

import math

import numpy as np
import pytest
from scipy import stats
from synthetic import write_runs

from hpo_bench.compare.charts.landscape import scored_weights
from hpo_bench.compare.cohort import cohorts
from hpo_bench.compare.stats.aggregate import relative_gain
from hpo_bench.compare.stats.ranks import critical_difference, rank_methods
from hpo_bench.compare.stats.variance import variance_share
from hpo_bench.records.load import finished, load_runs

BLOCK = np.array([[1.0, 2.0], [3.0, 6.0]])


def test_variance_components_of_a_two_by_two_table():
    """Means of rows 1.5, 4.5, of columns 2, 4, grand 3: MS 9 and 4, rest 1, so components 4, 1.5 and 1 of 6.5."""
    found = variance_share([BLOCK], np.random.default_rng(0))
    assert found.weights.value == pytest.approx(4 / 6.5)
    assert found.seeds == pytest.approx(1.5 / 6.5)
    assert found.rest == pytest.approx(1 / 6.5)
    assert (found.weightings, found.blocks, found.weights.n) == (2, 1, 4)


def test_interval_of_the_share_without_seed_effect_is_that_of_the_f_test():
    """Column means are equal: the share is g / (g + 1), g = var(weights) / var(rest), which has an F interval."""
    block = np.array([[1.0, 2.0, 0.0], [4.0, 2.0, 3.0], [7.0, 8.0, 9.0]])
    found = variance_share([block], np.random.default_rng(0))
    ratio = 39 / (6 / 4)
    low, high = ((ratio / stats.f.ppf(q, 2, 4) - 1) / 3 for q in (0.975, 0.025))
    assert found.weights.low == pytest.approx(low / (low + 1), abs=0.02)
    assert found.weights.high == pytest.approx(high / (high + 1), abs=0.02)


def test_permutation_p_of_a_two_by_two_table():
    """Four equally likely permutations (two per column); the observed one and its mirror image reach the sum."""
    found = variance_share([BLOCK], np.random.default_rng(0), permutations=20_000)
    assert found.p == pytest.approx(0.5, abs=0.02)


def test_weights_that_do_nothing_and_weights_that_do_all():
    assert variance_share([np.ones((3, 3))], np.random.default_rng(0)).p == 1.0
    all_of_it = variance_share([np.array([[1.0, 1.0], [2.0, 2.0]])], np.random.default_rng(0))
    assert all_of_it.weights.value == 1.0
    assert (all_of_it.weights.low, all_of_it.weights.high) == (1.0, 1.0)
    seeds_alone = variance_share([np.array([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]])], np.random.default_rng(0))
    assert (seeds_alone.weights.value, seeds_alone.weights.low, seeds_alone.weights.high) == (0.0, 0.0, 0.0)


def test_blocks_that_cannot_tell_are_left_out():
    assert variance_share([], np.random.default_rng(0)) is None
    assert variance_share([np.ones((1, 5)), np.ones((5, 1))], np.random.default_rng(0)) is None
    assert variance_share([BLOCK, np.ones((1, 5))], np.random.default_rng(0)).blocks == 1


def test_the_share_interval_covers_95_percent():
    """True share 1/3; 600 data sets of 3 repetitions x (6 weightings x 3 seeds); Monte-Carlo error 0.9 %."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(600):
        blocks = [rng.normal(size=(6, 1)) + rng.normal(size=(1, 3)) + rng.normal(size=(6, 3)) for _ in range(3)]
        found = variance_share(blocks, rng, permutations=1).weights
        covered.append(found.low <= 1 / 3 <= found.high)
    assert np.mean(covered) >= 0.93


def test_ranks_share_ties_and_turn_with_the_metric():
    scores = np.array([[0.9, 0.8, 0.8], [1.0, 2.0, 3.0]])
    found = rank_methods(scores, ("a", "b", "c"), np.array([True, False]))
    assert found.average.tolist() == [1.0, 2.25, 2.75]
    assert math.isnan(found.p_friedman)
    assert "2 tasks with all of 3 methods are too few" in found.sentence


def test_friedman_and_nemenyi_where_there_are_enough_tasks():
    """All 6 tasks agree: chi2 = 12 N / (k (k+1)) * sum(R^2) - 3 N (k+1) = 12 at N = 6, k = 3; p = exp(-6)."""
    found = rank_methods(np.tile([0.9, 0.8, 0.7], (6, 1)), ("a", "b", "c"), np.ones(6, dtype=bool))
    assert found.p_friedman == pytest.approx(math.exp(-6))
    assert found.p_nemenyi[0, 2] < 0.05 < found.p_nemenyi[0, 1]
    assert "a has the best average rank" in found.sentence
    assert "cannot be told from b" in found.sentence


def test_methods_that_tie_everywhere():
    assert rank_methods(np.ones((6, 3)), ("a", "b", "c"), np.ones(6, dtype=bool)).p_friedman == 1.0


def test_methods_that_share_the_best_rank_are_both_named():
    scores = np.array([[0.9, 0.8, 0.1], [0.8, 0.9, 0.1]] * 3)
    found = rank_methods(scores, ("a", "b", "c"), np.ones(6, dtype=bool))
    assert "a and b have the best average rank (1.50 of 3)" in found.sentence


def test_critical_difference_of_demsar():
    """Demšar (2006): 4 classifiers on 14 data sets, q = 2.569, CD = 1.25."""
    assert critical_difference(4, 14) == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


def test_relative_gain():
    """From AUC 0.8 to 0.85 a quarter of the error goes; from RMSE 2 to 1.5 as well."""
    gain = relative_gain(np.array([[0.85]]), np.array([[0.8]]), True)
    assert gain == pytest.approx(np.array([[0.25]]))
    assert relative_gain(np.array([[1.5]]), np.array([[2.0]]), False) == pytest.approx(np.array([[0.25]]))
    assert np.isnan(relative_gain(np.array([[1.5]]), np.array([[np.nan]]), False)).all()


def test_a_score_reached_under_moving_weights_is_no_point_of_the_landscape(tmp_path):
    write_runs(tmp_path, methods=("equal", "tpe"), trials=3)
    write_runs(tmp_path, methods=("tapweight",), trials=1)
    (task,), _ = cohorts(finished(load_runs(tmp_path), tmp_path))
    learned = task.methods["tapweight"]
    assert np.isfinite(learned.as_searched).all(), "the run ends with a model of its own"
    assert [learned.constant_trials(r) for r in range(3)] == [[], [], []]
    assert [len(task.methods["tpe"].constant_trials(r)) for r in range(3)] == [3, 3, 3]
    weights, values, _ = scored_weights(task, "equal")
    assert len(weights) == len(values) == 3 * 3 + sum(len(trials) for trials in task.methods["equal"].trials)
