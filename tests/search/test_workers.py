"""Trials side by side: the same results and the same bill as one after the other."""

import json

import pytest

from hpo_bench.core.meter import Cost
from hpo_bench.records.journal import Journal
from hpo_bench.search.random import Random
from hpo_bench.search.tpe import Tpe
from hpo_bench.search.workers import Overhead, bill_path, billed_to, build_problem, claim_lost_bills, ray_session
from hpo_bench.testing.method_contract import Interruption, Watch, run
from hpo_bench.testing.problems import quick_problem


def scores(journal):
    return [(record.weights, record.value, record.cost["step_equivalents"]) for record in journal.trials]


def test_a_problem_is_made_again_from_its_spec():
    problem = quick_problem("2", seed=3)
    again = build_problem(problem.spec, 1)
    weights = [0.2, 0.3, 0.5]
    values = []
    for one in (problem, again):
        trial = one.start_trial()
        trial.advance(weights, 24)
        values.append(trial.validate().value)
    assert values[0] == values[1]


def test_without_a_spec_there_are_no_workers():
    problem = quick_problem("2")
    problem.spec = None
    assert "spec" in Random(workers=2).supports(problem).reason
    assert Random().supports(problem).ok


def test_random_side_by_side_is_random_one_by_one(ray_running, tmp_path):
    problem = quick_problem("3")
    _, side = run(Random(workers=2), problem, tmp_path / "side")
    _, one = run(Random(), quick_problem("3"), tmp_path / "one")
    assert scores(side) == scores(one)
    assert problem.meter.snapshot().step_equivalents == pytest.approx(3 * problem.trial_cost)
    assert problem.meter.snapshot().seconds_pretraining > 0


def test_tpe_depends_on_the_number_of_workers_and_not_on_their_speed(ray_running, tmp_path):
    """Interrupted in the middle of a batch, it proposes what an unbroken search would have."""
    method = Tpe(workers=2, startup_trials=2)
    _, whole = run(method, quick_problem("6"), tmp_path / "whole")
    with pytest.raises(Interruption):
        run(method, quick_problem("6"), tmp_path / "broken", Watch(at_report=5))  # first of the third batch
    assert len(Journal(tmp_path / "broken", quick_problem("6").meter).trials) == 5
    _, broken = run(Tpe(workers=2, startup_trials=2), quick_problem("6"), tmp_path / "broken")
    assert scores(broken) == scores(whole)


def test_what_a_killed_worker_spent_is_claimed_once(tmp_path):
    problem = quick_problem("3")
    journal = Journal(tmp_path, problem.meter)
    for number, cost in ((0, 7.0), (1, 5.0)):
        path = bill_path(journal.workspace, f"{number:05d}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(Cost(step_equivalents=cost).to_json()))
    claim_lost_bills(journal, lambda unit: int(unit) < 1)  # trial 0 was recorded and billed
    claim_lost_bills(journal, lambda unit: int(unit) < 1)
    assert problem.meter.total.step_equivalents == 5.0
    assert Journal(tmp_path, quick_problem("3").meter).save_bill().step_equivalents == 5.0


def test_a_worker_leaves_its_bill_where_it_can_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr("hpo_bench.search.workers._BILL_INTERVAL", 0.0)
    problem = quick_problem("3")
    with billed_to(tmp_path / "bill.json", problem.meter) as spent:
        problem.start_trial().advance([0.2, 0.3, 0.5], 4)
        assert spent().step_equivalents == 12
    assert Cost.from_json(json.loads((tmp_path / "bill.json").read_text())).step_equivalents == 12
    assert problem.meter.heartbeat is None


def test_overhead_is_the_wall_clock_beyond_busy_seconds(monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 20.0])
    monkeypatch.setattr("hpo_bench.search.workers.time.perf_counter", lambda: next(clock))
    problem = quick_problem("3")
    overhead = Overhead(problem.meter, 2)
    problem.meter.total = Cost()
    overhead.settle(8.0)  # 10 s by the clock, 8 s of work on two workers
    assert problem.meter.total.seconds_orchestration == 6.0
    overhead.settle(10.0)  # work overtook the clock: nothing is taken back
    assert problem.meter.total.seconds_orchestration == 6.0
    overhead.settle()
    assert problem.meter.total.seconds_orchestration == 11.0


def test_what_a_killed_ray_left_behind_is_removed(tmp_path, monkeypatch):
    left = tmp_path / "hb-ray-left"
    left.mkdir()
    (tmp_path / "ray-session").write_text(str(left))
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with ray_session(tmp_path, 1):
        assert not left.exists()
        assert not (tmp_path / "ray-session").exists()
