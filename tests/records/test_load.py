"""Run folders read back: every status, wrong files."""

import json
import math
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from hpo_bench.errors import UserError
from hpo_bench.records import load
from hpo_bench.records.load import finished, load_runs, load_trajectories, load_trials

sys.path.insert(0, str(Path(__file__).parents[1] / "compare"))
from synthetic import bill, write_run, write_runs


def test_one_row_a_run_sorted(tmp_path):
    write_runs(tmp_path / "deep" / "er", methods=("tpe", "equal"), repetitions=2)
    runs = load_runs(tmp_path)
    assert list(zip(runs["method"], runs["seed"], strict=True)) == [("equal", 0), ("equal", 1), ("tpe", 0), ("tpe", 1)]
    row = runs.iloc[0]
    assert row["weights"] == pytest.approx([1 / 6] * 6)
    assert len(row["retrained_test"]) == 3
    assert row["retrained_seeds"] == [0, 1, 2]
    assert row["search_step_equivalents"] > 0
    assert row["retraining_peak_memory_bytes"] == 1.3e9
    assert row["protocol"]["steps"] == 300


def test_a_done_run_whose_trials_are_cut_short_says_so(tmp_path):
    folder = write_run(tmp_path)
    (before,) = load_runs(tmp_path)["notices"]
    trials = folder / "trials.jsonl"
    trials.write_bytes(trials.read_bytes()[:-20])
    (*others, told) = load_runs(tmp_path)["notices"][0]
    assert others == list(before)
    assert told == f"{trials} ends in the middle of a line: a trial of this run, or several, are not there"


@pytest.mark.parametrize("status", ["running", "failed", "diverged", "over-budget"])
def test_what_is_not_done_is_no_result(tmp_path, status):
    """Even if a run.json holds numbers, a run that is not done shows none of them."""
    write_run(tmp_path, status=status, error="boom")
    runs = load_runs(tmp_path)
    assert runs["status"].tolist() == [status]
    assert runs["weights"].isna().all()
    assert runs["retrained_test"].tolist() == [[]]
    assert math.isnan(runs["value"][0])
    with pytest.raises(UserError, match=f"found 1 {status}"):
        finished(runs, tmp_path)


def test_a_run_that_never_got_a_result_or_a_bill(tmp_path):
    write_run(tmp_path, status="running", result=None, cost=None, ended=None)
    write_run(tmp_path, seed=1)
    assert finished(load_runs(tmp_path))["seed"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no JSON object"),
        ("{}", "names no schema"),
        ('{"schema": 7}', "schema 7"),
        ('{"schema": 1, "status": "done", "method": "tpe", "task": "bace", "seed": 0}', "config: Field required"),
    ],
)
def test_wrong_run_json_is_named(tmp_path, text, message):
    folder = write_run(tmp_path)
    (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        finished(load_runs(tmp_path))
    assert str(folder / "run.json") in str(caught.value)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(UserError, match="it is empty"):
        load_runs(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"notes\.txt, but no run\.json"):
        load_runs(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        load_runs(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a folder"):
        load_runs(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="is not a folder"):
        load_runs(Path(os.devnull))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of folders are text")
def test_a_folder_whose_name_is_no_text_is_told(tmp_path):
    """Before, pandas ended with a traceback."""
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    write_run(strange)
    with pytest.raises(UserError, match=r"caf.udce9.* has a name that is no text .*\n.*LC_ALL"):
        load_runs(tmp_path)


def test_trials_and_trajectories(tmp_path):
    folder = write_run(tmp_path, method="tapweight")
    write_run(tmp_path, method="tpe", trials=4)
    trials = load_trials(tmp_path)
    assert trials.groupby("method").size().to_dict() == {"tapweight": 1, "tpe": 4}
    assert trials["spent_step_equivalents"].gt(0).all()
    path = load_trajectories(tmp_path)
    assert path["step"].tolist() == list(range(0, 301, 10))
    with open(folder / "trajectory.jsonl", "a") as file:
        file.write('{"step": 310, "wei')  # cut short by a kill
    assert len(load_trajectories(tmp_path)) == 31
    (folder / "trajectory.jsonl").write_text('{"step"\n')
    with pytest.warns(UserWarning, match=r"left out: .*trajectory\.jsonl, line 1"):
        assert load_trajectories(tmp_path).empty
    assert sorted(load_runs(tmp_path)["status"]) == ["damaged", "done"]


def test_diverged_trial_has_no_value(tmp_path):
    folder = write_run(tmp_path, method="tpe", trials=2)
    line = {"number": 2, "state": "diverged", "weights": [1, 0], "value": None, "cost": bill(1), "spent": bill(2)}
    with open(folder / "trials.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    trials = load_trials(tmp_path)
    assert math.isnan(trials["value"].iloc[-1])
    assert trials["state"].iloc[-1] == "diverged"


def test_every_run_is_read_once_however_many_there_are(tmp_path, monkeypatch):
    write_runs(tmp_path, repetitions=5, tasks=("a", "b"), trials=3)
    read = Counter()
    for name in ("read_run", "read_trials", "read_trajectory", "read_tests"):
        monkeypatch.setattr(load, name, partial(counted, read, name, getattr(load, name)))
    assert len(load_runs(tmp_path)) == 60
    assert len(read) == 4 * 60
    assert set(read.values()) == {1}


def counted(read, name, function, folder):
    read[name, folder] += 1
    return function(folder)
