"""Random and grid: what is proposed."""

from math import comb

import numpy as np
import pytest

from hpo_bench.errors import UserError
from hpo_bench.search.grid import Grid, finest_resolution, lattice, visits
from hpo_bench.search.random import Random, draw_simplex
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.watched import run


def points(method, problem):
    return np.array([method.propose(problem, number) for number in range(method.planned_trials(problem))])


class TestRandom:
    def test_a_trial_depends_on_seed_and_number_alone(self):
        problem = quick_problem("8")
        expected = Random().propose(problem, 5)
        assert np.array_equal(Random().propose(quick_problem("99"), 5), expected)
        assert not np.array_equal(Random().propose(quick_problem("8", seed=1), 5), expected)
        assert not np.array_equal(Random().propose(problem, 6), expected)

    def test_covers_the_simplex_uniformly(self):
        draws = np.array([draw_simplex(4, 0, "random", number) for number in range(4000)])
        assert draws.mean(0) == pytest.approx(np.full(4, 0.25), abs=0.01)
        # One coordinate of Dirichlet(1, 1, 1, 1) is Beta(1, 3): variance 3/80, P(w > 1/2) = 1/8.
        assert draws.var(0) == pytest.approx(np.full(4, 3 / 80), rel=0.1)
        assert (draws > 0.5).mean(0) == pytest.approx(np.full(4, 1 / 8), abs=0.02)


class TestLattice:
    @pytest.mark.parametrize("size", [1, 2, 3, 6])
    @pytest.mark.parametrize("resolution", [1, 2, 3, 6])
    def test_has_as_many_points_as_the_formula_says(self, size, resolution):
        found = lattice(size, resolution)
        assert len(found) == comb(resolution + size - 1, size - 1)
        assert len(np.unique(found, axis=0)) == len(found)
        assert (found >= 0).all()
        assert (found.sum(1) == resolution).all()

    def test_counts_the_centre_once(self):
        assert visits(3, 3) == 10  # (1/3, 1/3, 1/3) is a lattice point
        assert visits(3, 4) == 16
        assert visits(6, 1) == 7
        assert visits(6, 2) == 22

    def test_finest_resolution_is_affordable_and_the_next_is_not(self):
        for size in (2, 3, 6):
            for trials in range(size + 1, 80):
                resolution = finest_resolution(size, trials)
                assert visits(size, resolution) <= trials < visits(size, resolution + 1)

    def test_a_single_objective_has_one_point(self):
        assert finest_resolution(1, 100) == 1
        assert visits(1, 1) == 1


class TestGrid:
    def test_centre_first_then_vertices(self):
        found = points(Grid(), quick_problem("16"))
        assert found[0] == pytest.approx(np.full(3, 1 / 3))
        assert np.array_equal(found[1:4], np.eye(3))

    def test_visits_the_whole_lattice_that_the_budget_pays_for(self):
        found = points(Grid(), quick_problem("16"))  # resolution 4: 15 points and the centre
        assert len(found) == 16
        expected = {tuple(point) for point in lattice(3, 4)}
        assert {tuple(np.round(4 * point).astype(int)) for point in found[1:]} == expected

    def test_spends_the_rest_on_the_next_lattice_far_from_what_was_visited(self):
        problem = quick_problem("8")  # resolution 2: 6 points and the centre; one trial is left
        method = Grid()
        found = points(method, problem)
        assert len(found) == len(np.unique(np.round(found, 9), axis=0)) == 8
        assert [method.note(problem, number)["resolution"] for number in range(8)] == [2] * 7 + [3]
        assert 3 * found[7] == pytest.approx(np.round(3 * found[7]))

    def test_a_given_resolution_ends_with_its_last_point(self):
        assert len(points(Grid(resolution=3), quick_problem("16"))) == 10

    def test_refuses_what_it_cannot_pay_and_says_how_much_it_needs(self):
        assert "need 4 trials" in Grid().supports(quick_problem("3")).reason
        assert Grid().supports(quick_problem("4")).ok
        assert "need 10 trials" in Grid(resolution=3).supports(quick_problem("9")).reason
        assert not Grid(resolution=-1).supports(quick_problem("9")).ok

    def test_time_alone_refines_lattice_after_lattice(self):
        problem, method = quick_problem("600s"), Grid()
        assert method.supports(problem).ok
        resolutions = [method.note(problem, number)["resolution"] for number in range(20)]
        assert resolutions[:4] == [1] * 4
        assert resolutions == sorted(resolutions)
        found = np.array([method.propose(problem, number) for number in range(60)])
        assert len(np.unique(np.round(found, 9), axis=0)) == 60


class TestProposalsOfAnybody:
    """A method of one's own, in which something is wrong."""

    @pytest.mark.parametrize(
        ("proposal", "told"),
        [
            ([0.5, 0.5], r"weights that random gave have the shape \(2,\) and do not fit 3 objectives"),
            (np.full((3, 1), 1 / 3), r"weights that random gave have the shape \(3, 1\)"),
            (None, r"weights that random gave have the shape \(\)"),
            ("equal", r"weights that random gave are no numbers: 'equal'"),
            ([1.0, 1.0, 1.0], r"the weights \[1.0, 1.0, 1.0\] that random gave are not on the simplex"),
            ([float("nan")] * 3, r"that random gave are not on the simplex"),
        ],
    )
    def test_is_told_with_the_methods_name(self, proposal, told, tmp_path, monkeypatch):
        monkeypatch.setattr(Random, "propose", lambda self, problem, number: proposal)
        with pytest.raises(UserError, match=told):
            run(Random(), quick_problem("2"), tmp_path)

    def test_may_be_a_list(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Random, "propose", lambda self, problem, number: [0.25, 0.25, 0.5])
        assert run(Random(), quick_problem("2"), tmp_path)[1].trials[0].weights == [0.25, 0.25, 0.5]

    def test_none_at_all_is_no_divergence(self, tmp_path, monkeypatch):
        """Before, it was told to lower the learning rate."""
        monkeypatch.setattr(Random, "planned_trials", lambda self, problem: 0)
        with pytest.raises(UserError, match=r"no trial was made.*\n.*--budget"):
            run(Random(), quick_problem("2"), tmp_path)
