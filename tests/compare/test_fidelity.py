"""Fidelity in numbers that can be worked out by hand."""

import json

import numpy as np
import pytest

from hpo_bench.compare.charts.forest import fidelity_points
from hpo_bench.compare.charts.printed import draw
from hpo_bench.compare.stats.fidelity import centred_cosine, effects, fidelity
from hpo_bench.compare.stats.intervals import Estimate, correlation_interval, mean_interval
from hpo_bench.compare.stats.simplex import Point, Simplex
from hpo_bench.compare.tables.fidelity import fidelity_table, told

LATTICE = np.array([[1 / 3] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def landscape(scores, higher=True):
    points = [
        Point(f"p{i}", tuple(w), mean_interval(own), None, float("nan"))
        for i, (w, own) in enumerate(zip(LATTICE, scores, strict=True))
    ]
    seeds = tuple(range(scores.shape[1]))
    return Simplex("task", "rmse", higher, ("a", "b", "c"), seeds, scores, points, None)


def test_effects_of_a_linear_landscape_point_along_its_slopes():
    slopes = np.array([3.0, 1.0, -1.0])
    found = effects(LATTICE, np.stack([LATTICE @ slopes, LATTICE @ slopes + 7], axis=1))
    assert found.shape == (2, 3)
    assert centred_cosine(found[0], slopes) == pytest.approx(1)
    assert found[0] == pytest.approx(found[1])


def test_a_weighting_that_diverged_is_left_out():
    scores = np.stack([LATTICE @ np.array([1.0, 0.0, -1.0])] * 2, axis=1)
    scores[4, 1] = np.nan
    assert np.isfinite(effects(LATTICE, scores)).all()


@pytest.mark.parametrize("higher", [True, False])
def test_right_opposite_and_flat_weights(higher):
    scores = np.stack([LATTICE @ np.array([1.0, 0.0, -1.0])] * 3, axis=1) * (1 if higher else -1)
    right, opposite, flat = [0.5, 1 / 3, 1 / 6], [1 / 6, 1 / 3, 0.5], [1 / 3] * 3
    learned = [
        ("right", np.array([right, right]), [2.0, 2.5]),
        ("opposite", np.array([opposite, opposite]), [1.0, 1.0]),
        ("flat", np.array([flat, right]), [1.0, 1.0]),
    ]
    found = fidelity(landscape(scores, higher), learned)
    assert [(one.cosine.value, one.trials) for one in found.brute] == [(pytest.approx(1), 7), (pytest.approx(1), 3)]
    by_name = {row.name: row for row in found.rows}
    assert (by_name["right"].cosine.value, by_name["right"].rank.value) == (pytest.approx(1), pytest.approx(1))
    assert by_name["opposite"].cosine.value == pytest.approx(-1)
    assert by_name["flat"].cosines == (0.0, pytest.approx(1))
    assert by_name["flat"].flat == 1
    assert by_name["right"].trials.value == 2.25
    assert by_name["right"].spread == 0
    assert by_name["flat"].spread == pytest.approx(abs(np.array(right) - 1 / 3).max() / 2**0.5)
    assert found.to_json()["rows"][0]["name"] == "right"
    assert [name for _, name in fidelity_points(found).panels[0].y.ticks][2] == "right, 2.2 trials"
    assert len(fidelity_table(found).rows) == 5


def test_the_ceiling_is_one_seed_against_the_others():
    slopes = np.array([[1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])
    found = fidelity(landscape(LATTICE @ slopes.T), [])
    assert found.ceiling.cosines == (0.0, 0.0, pytest.approx(-1.0))  # the mean of two opposite seeds has no direction


def test_vertices_are_a_trial_of_each_objective_against_all_that_other_seeds_measured():
    scores = np.stack([LATTICE @ np.array([1.0, 0.0, -1.0])] * 2, axis=1)
    scores[1:4, 1] = [0.0, 1.0, -1.0]  # another order at the vertices, the old one between them
    found = fidelity(landscape(scores), [])
    slopes = effects(LATTICE, scores)
    assert found.vertices.cosines == (
        pytest.approx(centred_cosine(np.array([1.0, 0.0, -1.0]), slopes[1])),
        pytest.approx(centred_cosine(np.array([0.0, 1.0, -1.0]), slopes[0])),
    )
    assert fidelity_table(found).rows[1][0] == "another seed's vertices"


def test_an_interval_ends_at_one():
    found = correlation_interval(np.array([0.99, 0.9, 0.6]))
    assert mean_interval(np.array([0.99, 0.9, 0.6])).high > 1
    assert (found.value, found.high) == (pytest.approx(0.83), 1.0)
    assert told(found).endswith("to +1.00)")
    assert correlation_interval(-np.array([0.99, 0.9, 0.6])).low == -1.0
    assert told(Estimate(0.9)) == "+0.90"
    assert told(Estimate(float("nan"))) == "–"


def test_weights_that_are_all_zero_have_no_direction():
    scores = np.stack([LATTICE @ np.array([1.0, 0.0, -1.0])] * 2, axis=1)
    found = fidelity(
        landscape(scores), [("none", np.zeros((2, 3)), [0.2, 0.2]), ("flat", np.full((2, 3), 1 / 3), [1, 1])]
    )
    none, flat = (dict(zip(fidelity_table(found).columns, row, strict=True)) for row in fidelity_table(found).rows[2:])
    assert [none[name] for name in ("centred cosine", "worst seed", "rank correlation", "spread", "flat")] == ["–"] * 5
    assert none["trials"] == "0.2"
    assert (flat["centred cosine"], flat["flat"]) == ("+0.00 (+0.00 to +0.00)", "2 of 2")  # it stayed at the centre
    told_none, told_flat = json.loads(json.dumps(found.to_json(), allow_nan=False))["rows"]
    assert told_none["cosine"]["value"] is told_none["rank"]["value"] is told_none["spread"] is None
    assert told_none["cosines"] == [None, None]
    assert set(told_none) == set(told_flat), "what reads one reads the other"
    assert [name for _, name in fidelity_points(found).panels[0].y.ticks][2:] == ["flat, 1.0 trials"]


def test_with_two_objectives_effects_are_alike_or_opposite_and_the_figure_is_drawn():
    """All cosines are then +1 or -1, which rounding takes beyond: before, the figure was an error's traceback."""
    weights = np.array([[0.5, 0.5], [1, 0], [0, 1]])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(3, 3))
        points = [
            Point(f"p{i}", tuple(w), mean_interval(own), None, 0.0)
            for i, (w, own) in enumerate(zip(weights, scores, strict=True))
        ]
        found = fidelity(
            Simplex("task", "rmse", False, ("a", "b"), (0, 1, 2), scores, points, None),
            [("x", rng.dirichlet([1, 1], size=3), [1.0] * 3)],
        )
        estimates = [found.ceiling.cosine, found.vertices.cosine, found.rows[0].cosine]
        assert all(-1 <= e.low <= e.value <= e.high <= 1 for e in estimates)
        assert all(abs(one) <= 1 for one in found.ceiling.cosines)
    draw(fidelity_points(found))
