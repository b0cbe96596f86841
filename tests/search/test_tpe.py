"""TPE: the mapping to the simplex, the study on disk, and its agreement with trials.jsonl."""

import dataclasses
import json
import shutil

import numpy as np
import optuna
import pytest

from hpo_bench.core.budget import Budget
from hpo_bench.records.journal import Journal
from hpo_bench.search.cmaes import CmaEs
from hpo_bench.search.optuna_search import STORAGE, to_simplex
from hpo_bench.search.tpe import Tpe
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.watched import Interruption, Watch, run

COMPLETE = optuna.trial.TrialState.COMPLETE


def study_of(folder):
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "workspace" / STORAGE)))
    return optuna.load_study(study_name="tpe", storage=storage)


def scores(journal):
    return [(record.weights, record.value, record.state) for record in journal.trials]


def test_uniform_coordinates_give_uniform_weights():
    draws = np.array([to_simplex(u) for u in np.random.default_rng(0).uniform(size=(4000, 4))])
    assert draws.sum(1) == pytest.approx(np.ones(4000))
    assert draws.var(0) == pytest.approx(np.full(4, 3 / 80), rel=0.1)  # Dirichlet(1, 1, 1, 1)
    assert (draws > 0.5).mean(0) == pytest.approx(np.full(4, 1 / 8), abs=0.02)


def test_the_study_opens_in_optuna(tmp_path):
    result, journal = run(Tpe(startup_trials=3), quick_problem("8"), tmp_path)
    study = study_of(tmp_path)
    assert [trial.state for trial in study.trials] == [COMPLETE] * 8
    assert [trial.value for trial in study.trials] == [record.value for record in journal.trials]
    assert study.best_value == result.value
    for trial, record in zip(study.trials, journal.trials, strict=True):
        assert to_simplex([trial.params[f"u{i}"] for i in range(3)]) == pytest.approx(record.weights)
    assert journal.trials[0].weights == pytest.approx([1 / 3] * 3), "the first trial is the centre"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(method)`: the folder of an unbroken search, and that of one interrupted in its sixth trial."""
    folders = {}

    def make(method):
        if method.name not in folders:
            whole, broken = folders[method.name] = [tmp_path_factory.mktemp(name) for name in ("whole", "broken")]
            run(method, quick_problem("8"), whole)
            with pytest.raises(Interruption):
                run(dataclasses.replace(method), quick_problem("8"), broken, Watch(at_pass=130))
        return folders[method.name]

    return make


@pytest.fixture
def broken_off(made, tmp_path):
    """`broken_off(method)`: trials of an unbroken search, and a copy of the folder of the interrupted one."""

    def copied(method):
        whole, broken = made(method)
        return Journal.open(whole, quick_problem("8").meter), shutil.copytree(broken, tmp_path / "broken")

    return copied


@pytest.mark.parametrize("damage", ["none", "deleted", "torn line", "not a journal", "contradicts"])
def test_goes_on_as_if_unbroken_whatever_became_of_the_study(broken_off, damage):
    whole, folder = broken_off(Tpe(startup_trials=3))
    storage = folder / "workspace" / STORAGE
    if damage == "deleted":
        storage.unlink()
    elif damage == "torn line":
        storage.write_bytes(storage.read_bytes() + b'{"op_code": 4, "wor')
    elif damage == "not a journal":
        storage.write_text("hello\n")
    elif damage == "contradicts":
        lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
        changed = json.loads(lines[-1]) | {"value": 0.5}
        (folder / "trials.jsonl").write_text("".join([*lines[:-1], json.dumps(changed) + "\n"]))
        run(Tpe(startup_trials=3), quick_problem("8"), folder)
        assert 0.5 in [trial.value for trial in study_of(folder).trials], "trials.jsonl is the truth"
        return
    _, journal = run(Tpe(startup_trials=3), quick_problem("8"), folder)
    assert scores(journal) == scores(whole)
    if damage in ("none", "torn line"):
        states = [trial.state for trial in study_of(folder).trials]
        assert states == [COMPLETE] * 8, "the trial that was running is gone on with"


@pytest.mark.parametrize("left", [1, 2, 4])
def test_goes_on_as_if_unbroken_where_a_trial_was_being_asked_for(broken_off, left):
    whole, folder = broken_off(CmaEs())
    storage = folder / "workspace" / STORAGE
    lines = storage.read_bytes().splitlines(keepends=True)
    begun = max(at for at, line in enumerate(lines) if json.loads(line)["op_code"] == 4)
    storage.write_bytes(b"".join(lines[: begun + left]))  # its parameters were not all written yet
    _, journal = run(CmaEs(), quick_problem("8"), folder)
    assert scores(journal) == scores(whole)


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(tmp_path):
    method = Tpe(startup_trials=3)
    _, whole = run(method, quick_problem("8"), tmp_path / "whole")
    run(method, quick_problem("5"), tmp_path / "grown")
    _, grown = run(method, quick_problem("8"), tmp_path / "grown")
    assert scores(grown) == scores(whole)


def test_finds_better_weights_than_the_centre(tmp_path):
    result, journal = run(Tpe(startup_trials=5), quick_problem("24", steps=40), tmp_path)
    assert result.value < 0.6 * journal.trials[0].value
    assert result.weights[2] < 0.2, "the third objective is harmful"


class TestPruning:
    def test_is_billed_and_keeps_to_the_budget(self, tmp_path):
        problem = quick_problem("14")
        _, journal = run(Tpe(prune=True), problem, tmp_path)
        states = [record.state for record in journal.trials]
        assert "pruned" in states
        assert problem.meter.snapshot().step_equivalents <= problem.allowance
        done = next(record for record in journal.trials if record.state == "done")
        assert done.cost["step_equivalents"] == pytest.approx(problem.trial_cost + 2 * problem.adaptation_cost)
        assert [step for step, _ in done.note["on_the_way"]] == [8, 16]

    def test_goes_on_as_if_unbroken(self, tmp_path):
        method = Tpe(prune=True)
        _, whole = run(method, quick_problem("14"), tmp_path / "whole")
        with pytest.raises(Interruption):
            run(method, quick_problem("14"), tmp_path / "broken", Watch(at_pass=250))
        (tmp_path / "broken" / "workspace" / STORAGE).unlink()
        _, journal = run(Tpe(prune=True), quick_problem("14"), tmp_path / "broken")
        assert scores(journal) == scores(whole)

    def test_refuses_workers_and_points_that_do_not_fit(self):
        assert not Tpe(prune=True, workers=2).supports(quick_problem("14")).ok
        assert not Tpe(prune=True, prune_points=24).supports(quick_problem("14")).ok
        assert not Tpe(prune=True, prune_points=3).supports(quick_problem("1")).ok


def test_stops_when_time_is_up(tmp_path):
    problem = quick_problem("6")
    problem.budget = Budget(seconds=0.4)
    _, journal = run(Tpe(), problem, tmp_path)
    assert 1 <= len(journal.trials) < 200
    assert journal.trials[-1].spent["seconds_pretraining"] < 5
    assert len(Journal.open(tmp_path, quick_problem("6").meter).trials) == len(journal.trials)
