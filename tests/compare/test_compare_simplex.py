"""Vertices, centre and edge midpoints x seeds: exact small examples from made-up records."""

import json
import math

import numpy as np
import pytest
from synthetic import bill, write_run

from hpo_bench.compare.cohort import cohorts
from hpo_bench.compare.stats.simplex import simplex
from hpo_bench.errors import UserError
from hpo_bench.records.load import load_runs

CENTRE, A, B = (1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def measured(root, scores, task="bace"):
    """`scores`: {weights: [value of seed 0, of seed 1, …]}; later seeds visit the points in reverse order."""
    seeds = len(next(iter(scores.values())))
    for seed in range(seeds):
        folder = write_run(root, task, "grid", seed, retrains=0, trials=1, objectives=("a", "b", "c"))
        lines = [
            {"number": number, "state": "done" if own[seed] is not None else "diverged", "weights": list(weights),
             "value": own[seed], "cost": bill(1), "spent": bill(2), "schedule": None, "note": {}}
            for number, (weights, own) in enumerate(sorted(scores.items(), reverse=seed > 0))
        ]  # fmt: skip
        (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (found,), _ = cohorts(load_runs(root))
    return simplex(found, np.random.default_rng(0))


def test_shares_and_differences(tmp_path):
    """Rows 1, 2 and 3, 6: components 4, 1.5 and 1 of 6.5 (see test_compare_variance); differences 2 and 4."""
    found = measured(tmp_path, {CENTRE: [1.0, 2.0], A: [3.0, 6.0]})
    assert found.variance.weights.value == pytest.approx(4 / 6.5)
    assert found.variance.seeds == pytest.approx(1.5 / 6.5)
    centre, a = found.points
    assert (centre.name, a.name) == ("centre", "a")
    assert centre.versus is None
    assert a.versus.difference.value == 3.0
    assert a.versus.difference.half_width == pytest.approx(12.706205)  # t(0.975, 1), standard error 1
    assert a.versus.p_sign_flip == 0.5
    assert found.frame()[["valid_seed_0", "valid_seed_1"]].to_numpy().tolist() == [[1.0, 2.0], [3.0, 6.0]]
    assert "explains 62 %" in found.sentence
    assert "seeds 23 %" in found.sentence
    assert "(p = " in found.sentence


def test_points_have_names_and_an_order(tmp_path):
    edge = (0.5, 0.0, 0.5)
    found = measured(tmp_path, {edge: [1.0, 1.0], B: [1.0, 2.0], A: [1.0, 3.0], CENTRE: [0.0, 0.0]})
    assert [point.name for point in found.points] == ["centre", "a", "b", "a + c"]


def test_a_diverged_trial_leaves_a_gap_and_its_point_out_of_the_shares(tmp_path):
    found = measured(tmp_path, {CENTRE: [1.0, 2.0], A: [3.0, 6.0], B: [9.0, None]})
    assert math.isnan(found.values[2, 1])
    assert found.points[2].versus.difference.value == 8.0
    assert found.variance.weightings == 2


def test_one_seed_cannot_tell(tmp_path):
    found = measured(tmp_path, {CENTRE: [1.0], A: [3.0]})
    assert found.variance is None
    assert "With one seed nothing can be said" in found.sentence


def test_without_a_centre_there_is_nothing_to_compare_with(tmp_path):
    with pytest.raises(UserError, match="centre of the simplex"):
        measured(tmp_path, {CENTRE: [None, None], A: [3.0, 6.0]})


def test_the_sentence_says_how_many_weightings_diverged(tmp_path):
    whole = measured(tmp_path / "whole", {CENTRE: [1.0, 2.0], A: [3.0, 6.0]})
    assert whole.sentence.endswith("2 weightings × 2 seeds.")
    found = measured(tmp_path / "one", {CENTRE: [1.0, 2.0], A: [3.0, 6.0], B: [None, 9.0]})
    assert found.sentence.endswith("2 weightings × 2 seeds; 1 more not counted, where a trial diverged.")
