"""PBT: its size, its decisions, the schedule it returns, and what a kill leaves."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hpo_bench.records.journal import Journal
from hpo_bench.search.pbt import Pbt, merged
from hpo_bench.search.pbt_units import unit_key
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.watched import run


class TestSize:
    def test_population_is_what_the_budget_pays_for(self):
        problem = quick_problem("6")  # a trial: 3·24 + 10 = 82; a member: 3·24 + 4·10 = 112
        assert problem.trial_cost == 82
        assert Pbt().member_cost(problem) == 112
        assert Pbt().members(problem) == 6 * 82 // 112 == 4
        assert Pbt(intervals=2).members(problem) == 6 * 82 // 92

    def test_refuses_a_population_of_one_with_numbers(self):
        reason = Pbt().supports(quick_problem("2")).reason
        assert "112" in reason
        assert "164" in reason
        assert "--budget 3" in reason
        assert Pbt().supports(quick_problem("3")).ok

    def test_refuses_options_that_do_not_fit(self):
        for options in ({"intervals": 25}, {"intervals": 0}, {"quantile": 0.6}, {"resample": 2.0}, {"population": 5}):
            assert not Pbt(**options).supports(quick_problem("6")).ok, options

    def test_time_alone_needs_a_population(self):
        assert "population" in Pbt().supports(quick_problem("60s")).reason
        assert Pbt(population=3).supports(quick_problem("60s")).ok

    def test_starts_at_the_centre_and_at_uniform_draws(self):
        weights = np.array(Pbt().initial_weights(quick_problem("6")))
        assert weights[0] == pytest.approx([1 / 3] * 3)
        assert weights.sum(1) == pytest.approx(np.ones(4))
        assert len(np.unique(weights, axis=0)) == 4


def test_explore_stays_on_the_simplex_and_depends_on_the_seed_alone():
    from hpo_bench.search.pbt_population import explore, seeded_random

    state = random.getstate()
    config = {"weights": [0.5, 0.3, 0.2], "other": 1}
    found = []
    for seed in (*range(200), 0):
        with seeded_random(seed):
            found.append(explore(config, 0.25, 0.2))
    assert random.getstate() == state
    assert found[0] == found[-1]
    assert all(one["other"] == 1 and abs(sum(one["weights"]) - 1) < 1e-12 for one in found)
    near = [max(abs(a - b) for a, b in zip(one["weights"], config["weights"], strict=True)) < 0.2 for one in found]
    assert 0.6 < np.mean(near) < 0.95  # a quarter is drawn anew


def test_neighbouring_pieces_with_equal_weights_become_one():
    schedule = merged([[0, [1.0, 0.0]], [6, [1.0, 0.0]], [12, [0.5, 0.5]]])
    assert schedule.pieces == ((0, (1.0, 0.0)), (12, (0.5, 0.5)))


def test_members_that_time_cut_short_are_no_results(tmp_path):
    problem = quick_problem("60s")
    journal = Journal.open(tmp_path, problem.meter)
    cost = problem.meter.snapshot().to_json()
    for member, interval, value in ((0, 0, 0.3), (1, 0, 0.1), (0, 1, 0.2), (3, 0, 0.3), (3, 1, None)):
        pieces = [[0, [1.0, 0.0, 0.0]], [6, [0.0, 1.0, 0.0]]][: interval + 1]
        line = {"trial": member, "interval": interval, "value": value, "cost": cost, "pieces": pieces}
        journal.record_weights(*pieces[-1], unit=unit_key(pieces), **line)
    method = Pbt(population=4)
    method._record_members(problem, journal)
    assert [record.state for record in journal.trials] == ["done", "pruned", "pruned", "diverged"]
    assert [record.note["intervals"] for record in journal.trials] == [2, 1, 0, 2]
    assert journal.trials[0].schedule == [[0, [1.0, 0.0, 0.0]], [6, [0.0, 1.0, 0.0]]]
    assert method.search(problem, journal).value == 0.2


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    problem = quick_problem("9")  # 6 members
    result, journal = run(Pbt(), problem, tmp_path_factory.mktemp("pbt"))
    return problem, result, journal


def test_decisions_are_those_of_the_algorithm(population):
    """After each interval the worst quarter goes on from one of the best quarter, and everybody else from itself."""
    _, _, journal = population
    lines = {(line["trial"], line["interval"]): line for line in journal.trajectory}
    assert sorted(lines) == [(member, interval) for member in range(6) for interval in range(4)]
    quantile = math.ceil(6 / 4)
    copied = 0
    for interval in range(3):
        order = sorted(range(6), key=lambda member: -lines[member, interval]["value"])  # rmse: worst first
        for member in range(6):
            before, after = lines[member, interval]["pieces"], lines[member, interval + 1]["pieces"]
            if member in order[:quantile]:
                assert after[:-1] in [lines[best, interval]["pieces"] for best in order[-quantile:]]
                assert after[-1][1] != after[-2][1], "perturbed"
                copied += 1
            else:
                assert after[:-1] == before
                assert after[-1][1] == before[-1][1]
    assert copied == 6


def test_every_score_is_that_of_its_schedule(population):
    """Replayed from the base, a member's schedule gives the score that the search saw, copies included."""
    problem, result, journal = population
    assert result.value == min(record.value for record in journal.trials)
    for record in journal.trials:
        trial = problem.start_trial()
        trial.follow(merged(record.schedule))
        assert trial.validate().value == record.value


def test_members_side_by_side_are_members_one_by_one(population, ray_running, tmp_path):
    _, result, journal = population
    problem = quick_problem("9")
    beside, other = run(Pbt(workers=2), problem, tmp_path)
    assert beside == result
    assert [(one.weights, one.value, one.schedule) for one in other.trials] == [
        (one.weights, one.value, one.schedule) for one in journal.trials
    ]
    assert problem.meter.snapshot().step_equivalents == pytest.approx(6 * Pbt().member_cost(problem))
    assert not list(other.workspace.glob("bills/*.json"))


def test_a_lineage_of_two_members_is_trained_and_billed_once(tmp_path):
    """Without perturbation a copy is its original: one unit, two members."""
    problem = quick_problem("9")
    _, journal = run(Pbt(spread=0.0, resample=0.0), problem, tmp_path)
    units = {line["unit"] for line in journal.trajectory}
    assert len(units) < len(journal.trajectory) == 24
    assert problem.meter.snapshot().step_equivalents == pytest.approx(len(units) * Pbt().member_cost(problem) / 4)


def test_the_workspace_is_cleared_of_checkpoints(population):
    _, _, journal = population
    assert not list(journal.workspace.glob("units/*.safetensors"))
    assert len(list(journal.workspace.glob("units/*.json"))) == 24
    assert not list(journal.workspace.glob("bills/*.json"))


def test_work_of_members_adds_up_to_the_bill(population):
    problem, _, journal = population
    recorded = sum(record.cost["step_equivalents"] for record in journal.trials)
    assert recorded == pytest.approx(6 * Pbt().member_cost(problem))


@pytest.mark.slow
def test_a_kill_loses_the_interval_that_was_running_and_no_more(population, tmp_path):
    """SIGKILL while workers train: nothing finished is trained again, what was lost is billed, no process survives."""
    order = {
        "method": "hpo_bench.search.pbt:Pbt",
        "options": {"workers": 2},
        "folder": str(tmp_path),
        "problem": {"budget": "6", "steps": 4000},  # an interval takes a second or more
        "kill_at_report": 2,
        "delay": 2.0,
    }
    command = [sys.executable, "-m", "hpo_bench.testing.child", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, start_new_session=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    scratch = (tmp_path / "workspace" / "ray-session").read_text()
    deadline = time.monotonic() + 60
    while survivors := _processes(scratch):
        assert time.monotonic() < deadline, survivors
        time.sleep(0.5)

    problem = quick_problem("6", steps=4000)
    finished = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("workspace/units/*.json")}
    assert len(finished) >= 2
    run(Pbt(workers=2), problem, tmp_path)
    for name, written in finished.items():
        assert (tmp_path / "workspace" / "units" / name).stat().st_mtime_ns == written, "trained again"
    spent = problem.meter.snapshot().step_equivalents
    unbroken = Pbt().members(problem) * Pbt().member_cost(problem)
    assert unbroken * (1 - 1e-9) <= spent <= unbroken + Pbt().member_cost(problem) / 4
    whole, _ = run(Pbt(), quick_problem("6", steps=4000), tmp_path / "whole")
    assert whole.value == min(record.value for record in Journal.open(tmp_path, quick_problem().meter).trials)
    assert not os.path.exists(scratch), "the next run removes what the killed one left"


def _processes(scratch):
    """Ray processes of the session in `scratch`."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if scratch in line]
