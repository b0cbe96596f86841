"""Trials side by side: the same results and the same bill as one after the other."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hpo_bench.core.meter import Cost
from hpo_bench.errors import UserError
from hpo_bench.records.files import write_whole
from hpo_bench.records.journal import Journal
from hpo_bench.search.bills import bill_path, bill_worker, claim_lost_bills
from hpo_bench.search.crew import share_of_gpus
from hpo_bench.search.pbt import Pbt
from hpo_bench.search.random import Random
from hpo_bench.search.tpe import Tpe
from hpo_bench.search.trials import whole_trial
from hpo_bench.search.workers import billed, build_problem
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.watched import Interruption, Watch, run


def scores(journal):
    return [(record.weights, record.value, record.cost["step_equivalents"]) for record in journal.trials]


@pytest.mark.parametrize(("device", "shares"), [("cpu", (0, 0)), ("cuda", (1, 0.25)), ("cuda:0", (1, 0.25))])
def test_workers_share_one_accelerator(device, shares):
    spec = dataclasses.replace(quick_problem("2").spec, device=device)
    assert (share_of_gpus(spec, 1, 1.0), share_of_gpus(spec, 4, 1.0)) == shares


def test_workers_share_all_the_accelerators_of_a_cluster():
    spec = dataclasses.replace(quick_problem("2").spec, device="cuda")
    assert [share_of_gpus(spec, workers, 4.0) for workers in (2, 4, 8)] == [1.0, 1.0, 0.5]
    assert [share_of_gpus(spec, workers, 2.0) for workers in (3, 7)] == [0.5, 0.25]
    with pytest.raises(UserError, match="Ray knows of no GPU"):
        share_of_gpus(spec, 2, 0.0)
    with pytest.raises(UserError, match="not cuda:1"):  # a worker sees one card, which is number 0 to it
        share_of_gpus(dataclasses.replace(spec, device="cuda:1"), 2, 2.0)


def test_ray_places_all_workers_on_their_accelerators_at_once():
    """With accelerators that Ray is told of: what is placed needs no card. Shares of the sum would leave one out."""
    code = """
import sys, ray
from pathlib import Path
from ray.util.placement_group import placement_group, remove_placement_group
from hpo_bench.core.problem import ProblemSpec
from hpo_bench.search.crew import share_of_gpus
from hpo_bench.search.session import _start_ray
quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
_start_ray(Path(sys.argv[1]), address="local", num_cpus=1, num_gpus=2, object_store_memory=100 * 2**20, **quiet)
spec = ProblemSpec("bace", {}, {}, 0, "cuda")
for workers in (2, 3, 7, 14):
    group = placement_group([{"GPU": share_of_gpus(spec, workers, ray.cluster_resources()["GPU"])}] * workers)
    print(workers, group.wait(60))
    remove_placement_group(group)
print("two thirds each", placement_group([{"GPU": 2 / 3}] * 3).wait(3))
ray.shutdown()
"""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        command = [sys.executable, "-c", code, folder]
        told = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split("\n")[:5] == ["2 True", "3 True", "7 True", "14 True", "two thirds each False"]


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


def test_workers_share_the_cores(monkeypatch):
    """N workers x threads = cores, in the process of the worker."""
    monkeypatch.delenv("HPO_BENCH_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    before = torch.get_num_threads()
    try:
        for workers, threads in ((2, 3), (3, 2), (6, 1)):
            build_problem(quick_problem("2").spec, workers)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


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


def test_waiting_for_cpus_is_told(ray_running, tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr("hpo_bench.search.crew._PATIENCE", 1)
    busy = [ray.remote(num_cpus=1)(lambda: time.sleep(8)).remote() for _ in range(2)]
    with pytest.warns(UserWarning, match="no worker has said a word for 1 s"):
        run(Random(workers=2), quick_problem("2"), tmp_path)
    ray.get(busy)


def test_tpe_depends_on_the_number_of_workers_and_not_on_their_speed(ray_running, tmp_path):
    """Interrupted in the middle of a batch, it proposes what an unbroken search would have."""
    method = Tpe(workers=2, startup_trials=2)
    _, whole = run(method, quick_problem("6"), tmp_path / "whole")
    with pytest.raises(Interruption):
        run(method, quick_problem("6"), tmp_path / "broken", Watch(at_report=5))  # first of the third batch
    assert len(Journal.open(tmp_path / "broken", quick_problem("6").meter).trials) == 5
    _, broken = run(Tpe(workers=2, startup_trials=2), quick_problem("6"), tmp_path / "broken")
    assert scores(broken) == scores(whole)


def test_what_a_killed_worker_spent_is_claimed_once(tmp_path):
    problem = quick_problem("3")
    journal = Journal.open(tmp_path, problem.meter)
    for number, cost in ((0, 7.0), (1, 5.0)):
        path = bill_path(journal.workspace, f"{number:05d}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(Cost(step_equivalents=cost).to_json()))
    claim_lost_bills(journal, lambda unit: int(unit) < 1, 2)  # trial 0 was recorded and billed
    claim_lost_bills(journal, lambda unit: int(unit) < 1, 2)
    assert problem.meter.total.step_equivalents == 5.0
    assert Journal.open(tmp_path, quick_problem("3").meter).save_bill().step_equivalents == 5.0


def test_a_worker_tells_what_its_work_has_cost(monkeypatch):
    monkeypatch.setattr("hpo_bench.search.workers._TELL", 0.0)
    problem, told = quick_problem("3"), []
    with billed(problem.meter, told.append) as spent:
        problem.start_trial().advance([0.2, 0.3, 0.5], 4)
        assert spent().step_equivalents == 12
    assert [cost.step_equivalents for cost in told] == [3, 6, 9, 12]
    assert problem.meter.heartbeat is None


@pytest.mark.parametrize("method", [Random(workers=2), Pbt(workers=2)], ids=["trials", "population"])
def test_the_bill_adds_up_to_the_wall_clock(ray_running, tmp_path, method):
    """Set-up in workers, waiting and copies are orchestration, each second once."""
    problem = quick_problem("5", steps=1000)
    before = time.perf_counter()
    with problem.meter.phase("orchestration"):
        inside = time.perf_counter()
        run(method, problem, tmp_path)
        at_least = time.perf_counter() - inside
        bill = problem.meter.snapshot()
        at_most = time.perf_counter() - before
    busy = bill.seconds_training + bill.seconds_evaluation
    assert busy > 0.5
    # Two readings of a clock never happen at once, least of all on a busy machine: they lie around the bill's own.
    assert at_least <= busy / 2 + bill.seconds_orchestration + 1e-6
    assert busy / 2 + bill.seconds_orchestration <= at_most + 1e-6


def test_what_the_drivers_clock_counted_is_not_counted_again():
    meter = quick_problem("3").meter
    cost = Cost(seconds_pretraining=6.0, seconds_evaluation=2.0, seconds_orchestration=2.0)
    meter.total = Cost(seconds_orchestration=12.0)  # of the driver: 12 s by the clock, for two workers of 10 s each
    for _ in range(2):
        bill_worker(meter, cost, 2)
    assert (meter.total.seconds_training, meter.total.seconds_evaluation) == (12.0, 4.0)
    assert meter.total.seconds_orchestration == 4.0  # 8 s of training and evaluation side by side, 12 s by the clock
    bill_worker(meter, cost, 2, clocked=False)  # of a driver that was killed: its clock is lost, 5 s for this share
    assert meter.total.seconds_orchestration == 5.0


def test_more_trials_in_a_batch_than_processes(ray_running, tmp_path, monkeypatch):
    """What a search finds depends on the batch, and not on how many processes train it."""
    monkeypatch.setattr("hpo_bench.search.session.cores", lambda: 2)
    with pytest.warns(UserWarning, match="2 can be used"):
        _, few = run(Random(workers=3), quick_problem("3"), tmp_path / "few")
    _, one = run(Random(), quick_problem("3"), tmp_path / "one")
    assert scores(few) == scores(one)


def test_a_trial_whose_worker_dies_is_billed_and_trained_again(ray_running, tmp_path, monkeypatch):
    """Killed once, the search is what it would have been; the loss is on the bill and no reason to say over budget."""
    problem, marker = quick_problem("4", steps=400), tmp_path / "killed"
    monkeypatch.setattr("hpo_bench.search.trial_crew.whole_trial", partial(dies, marker, 1))
    with pytest.warns(UserWarning, match="a worker process died, its piece of work is done again"):
        _, journal = run(Random(workers=2), problem, tmp_path / "broken")
    _, whole = run(Random(), quick_problem("4", steps=400), tmp_path / "whole")
    assert scores(journal) == scores(whole)
    lost = problem.meter.snapshot().step_equivalents - 4 * problem.trial_cost
    assert lost == pytest.approx(journal.lost)
    assert not list(journal.workspace.glob("*/*.json"))


def test_a_trial_that_kills_every_worker_is_given_up(ray_running, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo_bench.search.trial_crew.whole_trial", partial(dies, tmp_path / "killed", 9))
    died = pytest.raises(UserError, match=r"died 3 times over the same piece of work.*\n.*--workers")
    with died, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(Random(workers=2), quick_problem("2"), tmp_path / "run")
    assert len(list(tmp_path.glob("killed*"))) >= 3


def test_an_error_of_the_program_is_not_tried_again(ray_running, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo_bench.search.trial_crew.whole_trial", partial(fails, tmp_path / "tried"))
    with pytest.raises(UserError, match="a fault of ours"):
        run(Random(workers=2), quick_problem("2"), tmp_path / "run")
    assert len(list(tmp_path.glob("tried*"))) <= 2


def dies(marker, times, problem, weights):
    """A trial of which the first `times` attempts in all kill their process."""
    for attempt in range(times):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(f"{marker}-{attempt}", os.O_CREAT | os.O_EXCL))
            problem.start_trial().advance([0.2, 0.3, 0.5], 100)
            os.kill(os.getpid(), signal.SIGKILL)
    return whole_trial(problem, weights)


def fails(marker, problem, weights):
    Path(f"{marker}-{os.getpid()}-{time.monotonic_ns()}").touch()
    raise UserError("a fault of ours", "")


def test_a_trial_that_was_done_before_its_turn_is_not_trained_again(ray_running, tmp_path, monkeypatch):
    """The driver is interrupted while trial 0 trains and trial 1 is done."""
    slow = tmp_path / "slow"
    slow.touch()
    monkeypatch.setattr("hpo_bench.search.trial_crew.whole_trial", partial(waits, slow))
    problem = quick_problem("2")
    kept = tmp_path / "run" / "workspace" / "finished" / "00001.json"

    class Stop(KeyboardInterrupt):
        pass

    def keep(path, content):
        write_whole(path, content)
        if path == kept:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("hpo_bench.search.trial_crew.write_whole", keep)
        with pytest.raises(Stop):
            run(Random(workers=2), problem, tmp_path / "run")
    before = json.loads(kept.read_text())
    slow.unlink()
    monkeypatch.setattr("hpo_bench.search.trial_crew.whole_trial", partial(waits, slow))
    problem = quick_problem("2")
    _, journal = run(Random(workers=2), problem, tmp_path / "run")
    assert journal.trials[1].value == before["value"]
    assert journal.trials[1].cost == before["cost"], "it is the one that was kept"
    assert not kept.exists()
    _, whole = run(Random(), quick_problem("2"), tmp_path / "whole")
    assert scores(journal) == scores(whole)


def waits(marker, problem, weights):
    """A trial that waits while a file is there, if it is the first."""
    first = np.allclose(weights, 1 / len(weights)) or list(weights) == list(Random().propose(quick_problem("2"), 0))
    while first and marker.exists():
        time.sleep(0.1)
    return whole_trial(problem, weights)
