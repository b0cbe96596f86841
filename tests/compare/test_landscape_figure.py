"""The figure of pairs of weights: in print all panels lie in one pair of axes, so places are ours to get right."""

import numpy as np
from synthetic import OBJECTIVES, write_runs

from hpo_bench.compare.charts.landscape import landscape, scored_weights
from hpo_bench.compare.charts.marks import Points, Text
from hpo_bench.compare.charts.pairs import GAP, every_pair
from hpo_bench.compare.cohort import cohorts
from hpo_bench.records.load import finished, load_runs


def origins(axis):
    """Where the panels' weight 0 stands."""
    return [place for place, word in axis.ticks if word == "0"]


def points(chart, label):
    return [mark for mark in chart.panels[0].marks if isinstance(mark, Points) and mark.label == label]


def test_an_end_beyond_all_trials_stays_in_its_panel(tmp_path):
    """TapWeight's one trial had moving weights and is no point of the landscape; equal's lies at the centre."""
    write_runs(tmp_path, methods=("equal", "tapweight"), repetitions=5)
    (task,), _ = cohorts(finished(load_runs(tmp_path)))
    weights, _, _ = scored_weights(task, "equal")
    ends = task.methods["tapweight"].weights
    assert ends.max() > weights.max() + 0.05
    chart = landscape(task, "equal")
    assert [mark.scale for mark in points(chart, "trial")] == [None], "all trials scored alike: no colours, no bar"
    low, high = chart.panels[0].x.limits
    assert ends.max() <= high
    across = origins(every_pair(chart).panels[0].x)
    assert across[1] - across[0] == (1 + GAP) * (high - low)


def test_every_trial_stands_in_every_panel_at_its_two_weights(tmp_path):
    write_runs(tmp_path, methods=("equal", "grid"), repetitions=2, trials=5)
    (task,), _ = cohorts(finished(load_runs(tmp_path)))
    chart = every_pair(landscape(task, "equal"))
    (panel,) = chart.panels
    across, upwards = origins(panel.x), origins(panel.y)
    words = [mark for mark in panel.marks if isinstance(mark, Text)]
    columns = [mark.text for mark in words if not mark.turned]
    rows = [mark.text for mark in words if mark.turned]
    assert set(columns) | set(rows) == set(OBJECTIVES)
    assert np.all(np.diff([mark.x for mark in words if not mark.turned]) > 0)
    assert np.all(np.diff([mark.y for mark in words if mark.turned]) > 0)
    weights, _, _ = scored_weights(task, "equal")

    def placed(own):
        return np.concatenate(
            [
                own[:, [first, second]] + [across[columns.index(name)], upwards[rows.index(other)]]
                for first, name in enumerate(OBJECTIVES)
                for second, other in enumerate(OBJECTIVES)
                if first < second
            ]
        )

    def assert_same(mark, own):
        shown, wanted = np.stack([mark.x, mark.y], axis=1), placed(own)
        assert len(shown) == len(own) * 15
        np.testing.assert_allclose(
            shown[np.lexsort(shown.T.round(9))], wanted[np.lexsort(wanted.T.round(9))], atol=1e-9
        )

    (trials,) = points(chart, "trial")
    assert_same(trials, weights)
    assert len(trials.scale.values) == len(trials.x)
    for label, runs in task.methods.items():
        each, mean = points(chart, label)
        assert_same(each, runs.weights)
        assert_same(mean, runs.weights.mean(axis=0, keepdims=True))
