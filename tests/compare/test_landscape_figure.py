"""The figure of pairs of weights: all panels lie in one Axes, so where a mark stands is ours to get right."""

import numpy as np
from synthetic import OBJECTIVES, write_runs

from hpo_bench.compare.charts.landscape import landscape, scored_weights
from hpo_bench.compare.charts.landscape_pairs import GAP, LOW
from hpo_bench.compare.cohort import cohorts
from hpo_bench.records.load import finished, load_runs


def origins(ticks, labels):
    """Where the panels' weight 0 stands."""
    return [place for place, label in zip(ticks, labels, strict=True) if label.get_text() == "0"]


def test_an_end_beyond_all_trials_stays_in_its_panel(tmp_path):
    """TapWeight's one trial had moving weights and is no point of the landscape; equal's lies at the centre."""
    write_runs(tmp_path, methods=("equal", "tapweight"), repetitions=5)
    (task,), _ = cohorts(finished(load_runs(tmp_path)))
    weights, _, _ = scored_weights(task, "equal")
    ends = task.methods["tapweight"].weights
    assert ends.max() > weights.max() + 0.05
    figure = landscape(task, "equal")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    across = origins(axes.get_xticks(), axes.get_xticklabels())
    side = (across[1] - across[0]) / (1 + GAP) + LOW
    assert ends.max() <= side


def test_every_trial_stands_in_every_panel_at_its_two_weights(tmp_path):
    write_runs(tmp_path, methods=("equal", "grid"), repetitions=2, trials=5)
    (task,), _ = cohorts(finished(load_runs(tmp_path)))
    figure = landscape(task, "equal")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    across = origins(axes.get_xticks(), axes.get_xticklabels())
    upwards = origins(axes.get_yticks(), axes.get_yticklabels())
    columns = [label.get_text() for label in axes.get_xticklabels(minor=True)]
    rows = [label.get_text() for label in axes.get_yticklabels(minor=True)]
    assert set(columns) | set(rows) == set(OBJECTIVES)
    weights, _, _ = scored_weights(task, "equal")
    expected = [
        weights[:, [first, second]] + [across[columns.index(name)], upwards[rows.index(other)]]
        for first, name in enumerate(OBJECTIVES)
        for second, other in enumerate(OBJECTIVES)
        if first < second
    ]
    (dots,) = [found for found in axes.collections if found.get_array() is not None]
    shown, wanted = np.asarray(dots.get_offsets()), np.concatenate(expected)
    assert len(shown) == len(weights) * 15
    np.testing.assert_allclose(shown[np.lexsort(shown.T.round(9))], wanted[np.lexsort(wanted.T.round(9))], atol=1e-9)
    for marks in (line for line in axes.lines if line.get_label() in task.methods):
        ends = task.methods[marks.get_label()].weights.mean(axis=0)
        place = [across[0] + ends[0], upwards[rows.index(OBJECTIVES[1])] + ends[1]]
        assert np.isclose(marks.get_xydata(), place).all(axis=1).any()
