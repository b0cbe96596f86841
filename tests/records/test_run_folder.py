"""One folder a run: lock, identity, explicit status."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hpo_bench.errors import UserError
from hpo_bench.records.run_folder import open_run
from hpo_bench.records.schema import SCHEMA
from hpo_bench.records.sessions import machine_kinds

CONFIG = {
    "preset": "quick",
    "method_options": {},
    "task_options": {"sizes": (1, 2)},
    "protocol": {"steps": 10},
    "budget": {"trials": 4},
    "retrains": 1,
    "device": "cpu",
}
IDENTITY = {"method": "equal", "task": "quadratic", "seed": 0, "config": CONFIG, "objectives": ["a", "b"]}
FOUND = {
    "result": {"weights": [0.5, 0.5], "value": 1.0},
    "metric": {"name": "rmse", "higher_is_better": False},
    "cost": {"search": {}},
}


def content(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_new_run_is_running_and_a_finished_one_is_done(tmp_path):
    with open_run(tmp_path / "run", IDENTITY) as run:
        assert content(tmp_path / "run")["status"] == run.status == "running"
        assert content(tmp_path / "run")["schema"] == SCHEMA
        run.finish("done", **FOUND)
    assert content(tmp_path / "run")["status"] == "done"
    assert content(tmp_path / "run")["ended"]
    with open_run(tmp_path / "run", IDENTITY) as again:
        assert again.content["result"] == FOUND["result"]


def test_tests_are_appended(tmp_path):
    with open_run(tmp_path, IDENTITY) as run:
        run.record_test({"index": 0, "seed": 5, "valid": 0.5, "test": 0.5, "cost": {}})
        run.record_test({"index": 1, "seed": 6, "valid": 0.5, "test": None, "cost": {}})
    with open_run(tmp_path, IDENTITY) as run:
        assert [line["index"] for line in run.tests] == [0, 1]


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path):
    code = f"""
import sys
import tempfile
from pathlib import Path
from pathlib import Path
from hpo_bench.records.run_folder import open_run
with open_run(Path(sys.argv[1]), {IDENTITY!r}):
    print("locked", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process") as caught, open_run(tmp_path, IDENTITY):
            pass
        assert "--out" in caught.value.remedy
        first.kill()  # the lock of a killed process is free
        first.wait()
        with open_run(tmp_path, IDENTITY) as run:
            assert run.status == "running"
    finally:
        first.kill()
        first.communicate()


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), open_run(tmp_path, IDENTITY):
        raise KeyError
    with open_run(tmp_path, IDENTITY):
        pass


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": "tapweight"}, ["method is 'equal' there, 'tapweight' now"]),
        ({"seed": 3}, ["seed is 0 there, 3 now"]),
        ({"config": CONFIG | {"protocol": {"steps": 11}}}, ["config.protocol.steps is 10 there, 11 now"]),
        (
            {"config": CONFIG | {"protocol": {}, "task_options": {"sizes": (1, 3), "more": 1}}},
            ["steps is 10 there, None", "sizes", "more is None"],
        ),
    ],
)
def test_another_configuration_is_refused_naming_the_keys(tmp_path, change, named):
    with open_run(tmp_path, IDENTITY) as run:
        run.finish("done", **FOUND)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError) as caught, open_run(tmp_path, IDENTITY | change):
        pass
    assert all(part in caught.value.message for part in named)
    assert "status" not in caught.value.message
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, None])
def test_another_schema_is_refused(tmp_path, schema):
    with open_run(tmp_path, IDENTITY):
        pass
    (tmp_path / "run.json").write_text(json.dumps({**content(tmp_path), "schema": schema}))
    with pytest.raises(UserError, match="schema"), open_run(tmp_path, IDENTITY):
        pass


@pytest.mark.parametrize("text", [b"", b"{", b"[]x", b"3", b"null", b"\xff\xfe"])
def test_an_unreadable_record_is_named_and_left_alone(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(UserError, match=r"run\.json"), open_run(tmp_path, IDENTITY):
        pass
    assert (tmp_path / "run.json").read_bytes() == text


def test_records_without_their_run_are_not_taken_over(tmp_path):
    (tmp_path / "trials.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"trials\.jsonl and no run\.json"), open_run(tmp_path, IDENTITY):
        pass
    assert not (tmp_path / "run.json").exists()


def test_half_written_files_of_a_kill_are_removed(tmp_path):
    (tmp_path / ".bill.json.4711.tmp").write_text("{")
    with open_run(tmp_path, IDENTITY):
        pass
    assert sorted(os.listdir(tmp_path)) in (["run.json"], [".lock", "run.json"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot write") as caught, open_run(folder, IDENTITY):
            pass
        assert "--out" in caught.value.remedy


def test_a_disk_that_refuses_later_is_told_in_a_sentence(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(UserError, match="cannot write"), open_run(tmp_path, IDENTITY) as run:  # noqa: PT012
            before = content(tmp_path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            run.update(long="x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(tmp_path) == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_other_errors_of_the_operating_system_are_not_blamed_on_the_disk(tmp_path):
    with pytest.raises(ConnectionRefusedError), open_run(tmp_path, IDENTITY):
        raise ConnectionRefusedError(111, "no cluster")


OLD, NEW = ({"table": letter * 64, "split": "s" * 64, "corpus": "c" * 64} for letter in "ab")


@pytest.mark.parametrize("status", ["done", "running"])
def test_a_run_of_other_data_is_refused_naming_what_changed(tmp_path, status):
    with open_run(tmp_path, IDENTITY, OLD) as run:
        if status == "done":
            run.finish("done", **FOUND)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match="has changed since: its table") as caught, open_run(tmp_path, IDENTITY, NEW):
        pass
    assert "split" not in caught.value.message
    assert "--out" in caught.value.remedy
    assert (tmp_path / "run.json").read_bytes() == before
    with open_run(tmp_path, IDENTITY, OLD) as run:
        assert run.status == status


def as_older(folder, **changes):
    older = {key: value for key, value in content(folder).items() if key not in ("content", "environments")}
    (folder / "run.json").write_text(json.dumps(older | {"schema": 1, "environment": {"git_commit": "f"}} | changes))


def test_an_older_run_answers_with_a_warning_and_is_not_gone_on_with(tmp_path):
    with open_run(tmp_path, IDENTITY, OLD) as run:
        run.finish("done", **FOUND)
    as_older(tmp_path)
    with pytest.warns(UserWarning, match="whether the data have changed"), open_run(tmp_path, IDENTITY, NEW) as run:
        assert run.status == "done"
    as_older(tmp_path, status="failed")
    with pytest.raises(UserError, match="begun by an older version"), open_run(tmp_path, IDENTITY, NEW):
        pass


def test_every_session_keeps_its_environment(tmp_path):
    for version in ("2.6", "2.7"):
        with open_run(tmp_path, IDENTITY) as run:
            run.begin_session({"git_commit": "f", "versions": {"torch": version}})
    found = content(tmp_path)
    assert found["sessions"] == 2
    assert [(one["session"], one["versions"]["torch"]) for one in found["environments"]] == [(1, "2.6"), (2, "2.7")]


def test_what_a_kill_left_is_cleared_on_the_way_into_a_finished_folder(tmp_path):
    with open_run(tmp_path / "run", IDENTITY) as run:
        run.finish("done", **FOUND)
    left = Path(tempfile.mkdtemp(prefix="hb-ray-"))
    (tmp_path / "run" / "workspace").mkdir()
    (tmp_path / "run" / "workspace" / "ray-session").write_text(str(left))
    with open_run(tmp_path / "run", IDENTITY):
        pass
    assert not left.exists()


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="is a link"), open_run(tmp_path / "run", IDENTITY):
        pass
    assert (tmp_path / "precious").read_text() == "as it was"


def test_another_configuration_may_have_the_folder_of_a_run_that_diverged_and_loses_nothing(tmp_path):
    with open_run(tmp_path / "seed-0", IDENTITY) as run:
        run.finish("diverged", "a loss is not finite")
    (tmp_path / "seed-0" / "trials.jsonl").write_text("")
    lower = IDENTITY | {"config": CONFIG | {"protocol": {"steps": 10, "learning_rate": 1e-4}}}
    with pytest.warns(UserWarning, match="seed-0-diverged-1"), open_run(tmp_path / "seed-0", lower) as run:
        assert run.status == "running"
    assert content(tmp_path / "seed-0-diverged-1")["status"] == "diverged"
    assert (tmp_path / "seed-0-diverged-1" / "trials.jsonl").exists()
    with open_run(tmp_path / "seed-0", lower) as run:
        run.finish("diverged", "again")
    with open_run(tmp_path / "seed-0", lower) as run:  # the same configuration goes on
        assert run.status == "diverged"
    with pytest.warns(UserWarning, match="seed-0-diverged-2"), open_run(tmp_path / "seed-0", IDENTITY):
        pass


def test_machines_of_a_session_are_kept_by_kind(tmp_path):
    with open_run(tmp_path / "run", IDENTITY) as run:
        run.begin_session({"processor": "slow", "versions": {}})
        for number, kind in enumerate(["slow", "quick", "slow"]):
            run.add_node({"node": f"id-{number}", "processor": kind, "accelerator": None})
    told = content(tmp_path / "run")["environments"][0]
    assert told["nodes"] == [
        {"count": 2, "processor": "slow", "accelerator": None},
        {"count": 1, "processor": "quick", "accelerator": None},
    ]
    assert machine_kinds([told]) == ["quick", "slow"]


def test_where_an_older_run_was_done_is_no_part_of_it(tmp_path):
    """It was once among the options: a run whose cluster's head has moved goes on."""
    options = {"method_options": {"workers": 2}}
    with open_run(tmp_path / "run", {**IDENTITY, "config": {**CONFIG, **options}}):
        pass
    record = content(tmp_path / "run")
    record["config"]["method_options"]["ray_address"] = "10.0.0.1:6379"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with open_run(tmp_path / "run", {**IDENTITY, "config": {**CONFIG, **options}}) as run:
        assert run.content["config"]["method_options"] == {"workers": 2}
