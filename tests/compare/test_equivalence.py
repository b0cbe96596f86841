"""Practical equivalence, by hand: for 1 and 2 degrees of freedom Student's distribution is elementary."""

import math

import numpy as np
import pytest
from synthetic import write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.stats.equivalence import Region, probabilities
from hpo_bench.errors import UserError


def student2(t):
    return 0.5 + t / (2 * math.sqrt(2 + t * t))


def test_three_repetitions_by_hand():
    """Mean 0.02, standard deviation 0.01, so the posterior is 0.02 + 0.01/√3 · t with 2 degrees of freedom."""
    worse, same, better = probabilities(np.array([0.01, 0.02, 0.03]), 0.01)
    assert better == pytest.approx(student2(math.sqrt(3)))  # 0.8873
    assert worse == pytest.approx(student2(-3 * math.sqrt(3)))  # 0.0175
    assert worse + same + better == pytest.approx(1)


def test_two_repetitions_by_hand():
    """Mean 0.01 and scale 0.01 of a Cauchy distribution."""
    worse, _, better = probabilities(np.array([0.0, 0.02]), 0.02)
    assert better == pytest.approx(0.25)
    assert worse == pytest.approx(0.5 - math.atan(3) / math.pi)


def test_correlation_widens_the_posterior():
    """r = 1/2: the scale is s √(1/3 + 1), twice that of independent repetitions."""
    _, _, better = probabilities(np.array([0.01, 0.02, 0.03]), 1e-12, correlation=0.5)
    assert better == pytest.approx(student2(math.sqrt(3)), rel=1e-6)


def test_as_baycomp_says():
    """baycomp 1.0.3: CorrelatedTTest.probs(x, x + d, rope=0.005) of these five differences d, as folds of one run."""
    found = probabilities(np.array([0.012, -0.004, 0.02, 0.003, 0.009]), 0.005, correlation=1 / 5)
    assert found == pytest.approx((0.049902327316217424, 0.2742283201674359, 0.6758693525163466), abs=1e-12)


def test_equal_differences_leave_no_doubt_and_one_says_nothing():
    assert probabilities(np.array([0.25, 0.25]), 0.5) == (0, 1, 0)
    assert probabilities(np.array([-1.0, -1.0]), 0.5) == (1, 0, 0)
    assert all(map(math.isnan, probabilities(np.array([0.3]), 0.5)))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "two", "", "%", "0%"])
def test_a_region_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="--equivalent"):
        Region.parse(text)


def test_regions():
    assert Region.parse("0.005") == Region(0.005)
    assert Region.parse(" 2% ") == Region(0.02, relative=True)


def test_it_is_printed_and_lower_scores_are_better_where_they_are(tmp_path):
    """On esol the score is an RMSE: less of it is a gain, and probabilities follow the table's difference."""
    write_runs(tmp_path / "runs", methods=("equal", "tpe"), tasks=("bace", "esol"), repetitions=5)
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False, equivalent=Region(0.004))
    assert {(entry.task, entry.method, entry.n) for entry in found.equivalence} == {
        ("bace", "tpe", 5),
        ("esol", "tpe", 5),
    }
    for entry, row in zip(found.equivalence, (row for row in found.rows if row.versus), strict=True):
        gain = row.versus.difference.value * (1 if row.higher_is_better else -1)
        assert (entry.better > entry.worse) == (gain > 0)
    assert "equivalent (within ±0.004)" in str(found)
    assert "equivalent (within ±0.004)" in (tmp_path / "out" / "table.md").read_text()
    without = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    assert "equivalent" not in str(without)
