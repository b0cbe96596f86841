"""Damaged records end in a sentence that names file and line; older ones are read, newer ones refused."""

import json
import os

import pytest
import torch

from hpo_bench.core.cost import Cost
from hpo_bench.core.meter import CostMeter
from hpo_bench.errors import UserError
from hpo_bench.records import schema
from hpo_bench.records.journal import Journal
from hpo_bench.records.load import finished, load_runs, load_trials
from hpo_bench.records.sessions import environment_changes

BILL = Cost(step_equivalents=3).to_json()
TRIAL = {"number": 0, "state": "done", "weights": [0.5, 0.5], "value": 0.7, "cost": BILL, "spent": BILL}
STEP = {"step": 5, "weights": [0.5, 0.5]}
RECORD = {
    "schema": 1,
    "status": "done",
    "method": "tpe",
    "task": "bace",
    "seed": 0,
    "sessions": 2,
    "config": {
        "preset": "quick",
        "method_options": {},
        "task_options": {},
        "protocol": {"steps": 10},
        "budget": {"trials": 4},
        "retrains": 1,
        "device": "cpu",
    },
    "objectives": ["a", "b"],
    "metric": {"name": "rmse", "higher_is_better": False},
    "environment": {"git_commit": "f" * 40, "versions": {"torch": "2.6"}},
    "result": {"weights": [0.5, 0.5], "value": 1.0, "retrained": []},
    "cost": {"search": BILL},
}
DEEP = b"[" * 100_000 + b"]" * 100_000
DAMAGE = [b"{}", b"[]", b"null", b'"text"', b"3", b"{", b"\xff\xfe{", b"", DEEP]


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def write(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(RECORD | changes))
    (folder / "trials.jsonl").write_text(lines(TRIAL))
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("name", "whole"), [("trials.jsonl", TRIAL), ("trajectory.jsonl", STEP)])
def test_a_damaged_line_is_named(tmp_path, name, whole, damage):
    (tmp_path / name).write_bytes(lines(whole).encode() + damage + b"\n")
    with pytest.raises(UserError, match=rf"{name}, line 2") as caught:
        Journal.open(tmp_path, CostMeter(10, torch.device("cpu")))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"weights": []},
        {"weights": ["a"]},
        {"weights": None},
        {"value": "0.7"},
        {"value": True},
        {"value": None},
        {"value": float("nan")},
        {"state": "won"},
        {"number": -1},
        {"number": 0.0},
        {"cost": []},
        {"spent": {"flops": -1.0}},
        {"schedule": [[0, "weights"]]},
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path, change):
    (tmp_path / "trials.jsonl").write_text(lines(TRIAL | change))
    with pytest.raises(UserError, match=rf"trials\.jsonl, line 1.*{next(iter(change))}|a trial that is done"):
        schema.read_trials(tmp_path)


@pytest.mark.parametrize(("numbers", "line"), [((0, 1, 1, 2), 3), ((0, 2), 2), ((1,), 1), ((0, 1, 0), 3)])
def test_a_line_that_is_missing_or_there_twice_is_noticed(tmp_path, numbers, line):
    (tmp_path / "trials.jsonl").write_text(lines(*(TRIAL | {"number": number} for number in numbers)))
    with pytest.raises(UserError, match=rf"trials\.jsonl, line {line}: trial {numbers[line - 1]} stands"):
        schema.read_trials(tmp_path)


@pytest.mark.parametrize("damage", [damage for damage in DAMAGE if damage != b"{}"])
def test_a_damaged_bill_is_named(tmp_path, damage):
    (tmp_path / "bill.json").write_bytes(damage)
    with pytest.raises(UserError, match=r"bill\.json"):
        Journal.open(tmp_path, CostMeter(10, torch.device("cpu")))


def test_a_bill_that_is_gone_or_older_goes_on_from_what_lines_say(tmp_path):
    spent = Cost(step_equivalents=750, seconds_pretraining=5).to_json()
    (tmp_path / "trials.jsonl").write_text(lines(TRIAL))
    (tmp_path / "trajectory.jsonl").write_text(lines(STEP | {"spent": spent}))
    with pytest.warns(UserWarning, match=r"bill\.json is gone"):
        journal = Journal.open(tmp_path, CostMeter(10, torch.device("cpu")))
    assert journal.meter.total.step_equivalents == 750
    (tmp_path / "bill.json").write_text(json.dumps(Cost(step_equivalents=712, seconds_pretraining=6).to_json()))
    meter = CostMeter(10, torch.device("cpu"))
    Journal.open(tmp_path, meter)
    assert (meter.total.step_equivalents, meter.total.seconds_pretraining) == (750, 6)


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


@pytest.mark.parametrize("make", [make_pipe, make_device, make_folder])
@pytest.mark.parametrize("name", ["run.json", "trials.jsonl", "bill.json"])
def test_what_is_no_file_is_not_read(tmp_path, make, name):
    folder = write(tmp_path / "run")
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    reader = {"run.json": schema.read_run, "trials.jsonl": schema.read_trials}.get(name)
    with pytest.raises(UserError, match=name):
        reader(folder) if reader else schema.read_bill(folder / name)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["run.json", "trials.jsonl", "trajectory.jsonl", "tests.jsonl"])
def test_a_bad_run_does_not_keep_the_others(tmp_path, name, damage):
    write(tmp_path / "bace" / "tpe" / "seed-0")
    bad = write(tmp_path / "bace" / "grid" / "seed-0", method="grid")
    (bad / name).write_bytes(damage + b"\n")
    runs = load_runs(tmp_path)
    assert dict(zip(runs["method"], runs["status"], strict=True)) == {"tpe": "done", "grid": "damaged"}
    assert str(bad / name) in runs[runs["status"] == "damaged"]["error"].iloc[0]
    assert finished(runs)["method"].tolist() == ["tpe"]
    with pytest.warns(UserWarning, match="left out"):
        assert load_trials(tmp_path)["method"].tolist() == ["tpe"]


def test_an_older_layout_is_read_and_a_newer_one_refused(tmp_path):
    found = schema.read_run(write(tmp_path))
    assert found["schema"] == schema.SCHEMA
    assert found["content"] is None
    assert found["environments"] == [{"session": 2, **RECORD["environment"]}]
    with pytest.raises(UserError, match=f"schema {schema.SCHEMA + 1}.*reads schemas up to {schema.SCHEMA}"):
        schema.read_run(write(tmp_path, schema=schema.SCHEMA + 1))
    for strange in (None, 0, -1, True, "1", 1.0):
        with pytest.raises(UserError, match="names no schema"):
            schema.read_run(write(tmp_path, schema=strange))


@pytest.mark.parametrize(
    ("task", "options", "newest"),
    [
        ("stsb", {"preset": "quick"}, {"tokens": 64, "rows": 1250}),
        ("stsb", {"preset": "quick", "rows": 400}, {"tokens": 64, "rows": 400}),
        ("stsb", {"preset": "standard"}, {}),
        (
            "cola",
            {"preset": "paper", "tokens": 64},
            {"model": "roberta-base", "tokens": 64, "pooling": "first", "pairs": "joint"},
        ),
        ("bace", {"preset": "paper", "base": "gin.safetensors"}, {"base": "gin.safetensors"}),
        ("digits", {"preset": "quick", "plant": ["noise"]}, {"plant": ["noise"]}),
    ],
)
def test_a_preset_among_the_options_of_a_task_becomes_what_it_stood_for(tmp_path, task, options, newest):
    """Layout 2. The command that makes the run again then names every setting of the protocol."""
    folder = write(tmp_path, task=task, schema=2, config=RECORD["config"] | {"task_options": options})
    found = schema.read_run(folder)
    assert found["config"]["task_options"] == newest
    assert found["preset_protocol"] == {}
    assert "preset_protocol" not in schema.read_run(write(tmp_path / "other", schema=2))


def test_sessions_of_a_run_are_told_apart():
    one = {"session": 1, "git_commit": "a", "versions": {"torch": "2.6", "numpy": "2"}}
    two = {"session": 2, "git_commit": "b", "versions": {"torch": "2.7", "numpy": "2"}}
    assert environment_changes([one, {**one, "session": 2}]) == []
    assert environment_changes([one, two]) == ["session 2 had git_commit b in place of a; torch 2.7 in place of 2.6"]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"weights": [1.0, 2.0]}, "they sum to 3"),
        ({"weights": [1.5, -0.5]}, "weights are shares of 1"),
        ({"schedule": [[5, [0.5, 0.5]]]}, "rise from 0"),
        ({"schedule": [[0, [0.5, 0.5]], [0, [0.4, 0.6]]]}, "rise from 0"),
        ({"schedule": [[0, [1.0]]]}, "another number of weights"),
        ({"retrained": [{"index": 0, "seed": 1, "test": 0.5}] * 2}, "a retraining is there twice"),
    ],
)
def test_a_result_that_cannot_be_is_refused(tmp_path, result, told):
    with pytest.raises(UserError, match=rf"run.json is damaged: .*{told}"):
        schema.read_run(write(tmp_path, result=RECORD["result"] | result))


def test_other_things_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UserError, match="an objective is there twice: a, a"):
        schema.read_run(write(tmp_path, objectives=["a", "a"]))
    with pytest.raises(UserError, match="something else than sentences"):
        schema.read_run(write(tmp_path, data={"notices": "leaks"}))
    write(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 0, "seed": 1'))
    with pytest.raises(UserError, match="the key 'seed' is there twice"):
        schema.read_run(tmp_path)


def test_no_pretraining_and_rounded_weights_are_read(tmp_path):
    for weights in ([0.0, 0.0], [0.333333, 0.666668]):
        schema.read_run(write(tmp_path, result=RECORD["result"] | {"weights": weights}))
