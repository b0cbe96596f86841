"""The command line: what it refuses, what it prints, and what it imports. `call` runs the real entry point."""

import json
import os
import resource
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpo_bench.__main__ import main
from hpo_bench.cli import app
from tests.permissions import read_only

SIZES = ["--preset", "quick", "--set", "steps=12", "--set", "batch_size=16", "--set", "epochs=1", "--device", "cpu"]
EQUAL = ["run", "--method", "equal", "--task", "quadratic", *SIZES]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call("run", …)`: exit code, stdout and stderr, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*words):
        monkeypatch.setattr(sys, "argv", ["hpo-bench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return invoke


@pytest.fixture
def finished(call):
    """The folder of a run of `equal`."""
    code, _, err = call(*EQUAL)
    assert code == 0, err
    return Path("runs/quadratic/equal/seed-0")


@pytest.mark.parametrize("kind", ["csv", "parquet", "tensorboard", "mlflow"])
def test_an_export_of_nothing_makes_no_folder(call, kind, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, told in (("nowhere", "There is no folder nowhere"), ("empty", "There is no run in empty")):
        code, _, err = call("export", path, "--to", kind, "--out", "there")
        assert code == 2
        assert told in err
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--seed", "-1", "not a whole number from 0"),
        ("--seed", "١", "not a whole number from 0"),
        ("--seed", "1_0", "not a whole number from 0"),
        ("--repeats", "0", "not a whole number from 1"),
        ("--workers", "0", "not a whole number from 1"),
    ],
)
def test_a_flag_with_a_number_that_is_none_is_refused(call, flag, value, told):
    code, _, err = call(*EQUAL, flag, value)
    assert code == 2
    assert told in err
    assert flag in err


def test_an_out_with_spaces_can_be_pasted(call, tmp_path):
    out = tmp_path / "my runs"
    assert call(*EQUAL, "--out", out)[0] == 0
    code, told, _ = call("show", out / "quadratic" / "equal" / "seed-0")
    assert code == 0
    (again,) = [line.removeprefix("again: ") for line in told.splitlines() if line.startswith("again: ")]
    assert shlex.split(again)[-2:] == ["--out", str(out)]
    code, _, err = call("compare", tmp_path / "no such")
    assert code == 2
    assert f"'{tmp_path / 'no such'}'" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "tapwieght", "--task", "quadratic"], "Did you mean 'tapweight'"),
        (["--method", "equal", "--task", "quadratik"], "Did you mean 'quadratic'"),
        (["--method", "zzz", "--task", "quadratic"], "Known: "),
        (["--method", "equal", "--task", "quadratic", "--preset", "quik"], "Did you mean 'quick'"),
        (["--method", "equal", "--task", "quadratic", "--task-option", "data_sed=1"], "no option data_sed"),
        (["--method", "equal", "--task", "quadratic", "--task-option", "split=random"], "--split random"),
        (["--method", "implicit", "--task", "quadratic", "-o", "gama=1"], "Did you mean 'gamma'"),
        (["--method", "implicit", "--task", "quadratic", "-o", "every=often"], "every"),
        (["--method", "implicit", "--task", "quadratic", "-o", "every"], "name=value"),
        (["--method", "implicit", "--task", "quadratic", "--solver", "identiy"], "Did you mean 'identity'"),
        (["--method", "equal", "--task", "quadratic", "--set", "stepps=3"], "Did you mean 'steps'"),
        (["--method", "equal", "--task", "quadratic", "--set", "steps=0"], "steps must be at least 1"),
        (["--method", "equal", "--task", "quadratic", "--set", "learning_rate=-1"], "learning_rate"),
        (["--method", "equal", "--task", "quadratic", "--mode", "halff"], "mode"),
        (["--method", "equal", "--task", "quadratic", "--precision", "fp8"], "precision"),
        (["--method", "equal", "--task", "quadratic", "--budget", "lots"], "cannot read the budget 'lots'"),
        (["--method", "equal", "--task", "quadratic", "--budget", "0.5"], "--budget"),
        (["--method", "tapweight", "--task", "quadratic", "--budget", "1"], "larger --budget"),
        (["--method", "equal", "--task", "quadratic", "--device", "tpu"], "--device auto, cpu or cuda"),
        (["--method", "equal", "--task", "quadratic", "--objectives", "atom"], "has no option objectives"),
        (["--method", "equal", "--task", "quadratic", "--objectives", ""], "--objectives is empty"),
        (["--method", "equal", "--task", "quadratic", "--objectives", ","], "--objectives names nothing"),
        (["--method", "equal", "--task", "quadratic", "--out", ""], "--out is empty"),
        (["--method", "equal", "--task", "quadratic", "--out="], "--out is empty"),
        (["--method", "equal", "--task", "quadratic", "--budget", ""], "--budget is empty"),
        (["--method", "equal", "--task", "quadratic", "--budget", "1_0"], "cannot read the budget '1_0'"),
        (["--method", "equal", "--task", "quadratic", "--task-option", "data_seed=x"], "must be a whole number"),
        (["--method", "equal", "--task", "quadratic", "--task-option", "data_seed=nan"], "must be a whole number"),
        (["--method", "equal", "--task", "quadratic", "--task-option", f"data_seed={10**40}"], "a whole number"),
        (["--method", "equal", "--task", "quadratic", "--task-option", "device=cpu"], "write --device"),
        (["--method", "random", "--task", "quadratic", "--workers", "2", "-o", "workers=3"], "different things"),
        (["--method", "random", "--task", "quadratic", "-o", "workers=1000000"], "more than 1024"),
        (["--method", "random", "--task", "quadratic", "-o", "workers=true"], "must be a whole number"),
        (["--method", "tpe", "--task", "quadratic", "-o", "startup_trials=-1"], "below zero"),
    ],
)
def test_bad_input_is_told_in_a_sentence_with_exit_code_2(call, words, told):
    code, out, err = call("run", *words)
    assert code == 2
    assert told in err
    assert "error: " in err
    assert "Traceback" not in err
    assert out == ""
    assert os.listdir() == [], "nothing was written"


@pytest.mark.parametrize("words", [["run"], ["rnu"], ["run", "--metod", "equal"], ["show"], [*EQUAL, "--repeats", "0"]])
def test_a_command_that_cannot_be_read_is_refused_with_exit_code_2(call, words):
    code, _, err = call(*words)
    assert code == 2
    assert "Traceback" not in err
    assert os.listdir() == []


def test_a_folder_that_cannot_be_written_is_refused(call):
    Path("file").write_text("here")
    code, _, err = call(*EQUAL, "--out", "file/runs")
    assert code == 2
    assert "cannot write" in err
    assert "--out" in err
    assert Path("file").read_text() == "here"


@pytest.mark.parametrize("folder", ["/proc/runs", "x" * 300])
def test_a_folder_that_cannot_be_made_is_refused(call, folder):
    code, _, err = call(*EQUAL, "--out", folder)
    assert code == 2
    assert "error: cannot write" in err


@pytest.mark.parametrize("verb", ["run", "landscape", "fidelity", "transfer"])
@pytest.mark.parametrize("out", ["file", "file/below", "shut", "/proc/below"])
def test_a_place_that_cannot_be_written_is_told_before_the_task_is_loaded(call, monkeypatch, verb, out):
    monkeypatch.setattr("hpo_bench.run.runner.load_task", lambda *_: pytest.fail("it may take minutes"))
    Path("file").write_text("here")
    Path("shut").mkdir()
    with read_only(Path("shut")):
        code, _, err = call(verb, *(["-m", "equal"] if verb == "run" else []), *EQUAL[3:], "--out", out)
    assert code == 2
    assert err.startswith(f"error: cannot write {out}")
    assert sorted(os.listdir()) == ["file", "shut"], "nothing was left"


@pytest.mark.parametrize("out", ["file", "file/below", "shut", "/proc/below"])
def test_a_place_for_an_export_that_cannot_be_written_is_told_as_elsewhere(call, finished, out):
    Path("file").write_text("here")
    Path("shut").mkdir()
    with read_only(Path("shut")):
        code, _, err = call("export", "--to", "csv", "runs", "--out", out)
    assert code == 2
    assert err.startswith(f"error: cannot write {out}")


def test_a_full_disk_is_told_in_a_sentence(call):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # run.json is longer
    try:
        code, _, err = call(*EQUAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert "cannot write" in err
    assert call(*EQUAL)[0] == 0, "the same command goes on"


def test_a_run_folder_of_another_configuration_is_refused_naming_the_key(call, finished):
    before = (finished / "run.json").read_bytes()
    code, _, err = call(*EQUAL, "--set", "steps=13")
    assert code == 2
    assert "config.protocol.steps is 12 there, 13 now" in err
    assert (finished / "run.json").read_bytes() == before


def test_an_option_written_in_another_way_is_the_same_configuration(call):
    run = ["run", "--method", "random", "--task", "quadratic", *SIZES]
    assert call(*run, "--budget", "2", "-o", "workers=1")[0] == 0
    assert call(*run, "--budget", "2t", "-o", "workers=01")[0] == 0


def test_json_is_all_that_stdout_holds(call):
    code, out, _ = call(*EQUAL, "--repeats", "2", "--json")
    assert code == 0
    records = json.loads(out)
    assert [record["seed"] for record in records] == [0, 1]
    assert [record["status"] for record in records] == ["done", "done"]
    assert records[0] == json.loads(Path("runs/quadratic/equal/seed-0/run.json").read_text())


def test_a_run_for_people_leaves_stdout_empty_and_tells_the_result(call):
    code, out, err = call(*EQUAL, "--repeats", "2")
    assert (code, out) == (0, "")
    assert "repeat 2 of 2 (seed 1)" in err
    record = json.loads(Path("runs/quadratic/equal/seed-1/run.json").read_text())
    assert f"test {record['result']['retrained'][0]['test']:.4f}" in err
    assert "signal 0.33, partial 0.33, harmful 0.33" in err
    assert "runs/quadratic/equal/seed-1" in err


def test_a_second_call_says_the_same_result(call, finished):
    before = (finished / "run.json").read_bytes()
    code, _, err = call(*EQUAL)
    assert code == 0
    assert "valid rmse" in err
    assert (finished / "run.json").read_bytes() == before


def test_what_is_finished_is_told_where_nothing_can_be_written(call, finished):
    (finished / "tests.jsonl").write_bytes((finished / "tests.jsonl").read_bytes()[:-5])  # a copy that was cut short
    with read_only(Path("runs")):
        assert call(*EQUAL)[0] == 0
        code, _, err = call(*EQUAL, "--repeats", "2")  # one of them is not there
    assert code == 2
    assert "error: cannot write runs/quadratic/equal/seed-1: Permission denied" in err


def test_a_comparison_is_shown_where_nothing_can_be_written(call, finished):
    words = ["compare", "runs", "--out", "analysis", "--no-figures"]
    Path("here.md").write_text("<!-- compare: begin -->\n<!-- compare: end -->\n")
    code, first, _ = call(*words, "--insert", "here.md")
    assert code == 0
    assert "equal" in Path("here.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    with read_only(Path()):
        assert call(*words, "--insert", "here.md")[:2] == (0, first)
        code, again, err = call(*words[:2], "--out", "new", "--no-figures")
        assert (code, again) == (2, first), "it is printed all the same"
        assert "error: cannot write new: Permission denied" in err
    assert before == {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    Path("analysis/table.md").write_text("of another version")
    with read_only(Path()):
        code, again, err = call(*words)
    assert (code, again) == (2, first)
    assert "error: cannot write analysis/table.md: Permission denied" in err


def test_show(call, finished):
    code, out, _ = call("show", finished)
    record = json.loads((finished / "run.json").read_text())
    assert code == 0
    assert "equal on quadratic, seed 0: done" in out
    assert f"{record['result']['value']:.4f}" in out
    assert "harmful" in out
    code, out, _ = call("show", finished, "--json")
    assert json.loads(out) == record
    assert call("show", finished / "run.json")[0] == 0


def test_the_command_that_show_gives_is_that_of_the_run(call, tmp_path):
    out = tmp_path / "some where"
    run = [
        "run",
        "-m",
        "implicit",
        "-t",
        "quadratic",
        *SIZES,
        "--budget",
        "40,9999se",
        "--retrains",
        "2",
        "--mode",
        "probe",
    ]
    run += ["--set", "steps=30", "-o", "levels=2", "-o", "gamma=0.5", "--task-option", "data_seed=3", "--out", out]
    assert call(*run)[0] == 0
    folder = out / "quadratic" / "implicit" / "seed-0"
    before = (folder / "run.json").read_bytes()
    shown = call("show", folder)[1]
    [again] = [line.removeprefix("again: ") for line in shown.splitlines() if line.startswith("again: ")]
    assert call(*shlex.split(again)[1:])[0] == 0
    assert (folder / "run.json").read_bytes() == before, "it was taken for the same run"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3", '{"method": "equal"}'])
def test_a_record_that_is_none_is_named(call, content):
    Path("run").mkdir()
    if content is not None:
        Path("run/run.json").write_text(content)
    for words in (["show", "run"], ["show", "run", "--json"]):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert "run" in err
        assert "Traceback" not in err


def test_a_run_that_goes_on_is_shown_without_a_result(call, finished):
    record = json.loads((finished / "run.json").read_text())
    for key in ("result", "cost"):
        del record[key]
    (finished / "run.json").write_text(json.dumps({**record, "status": "running", "ended": None}))
    code, out, _ = call("show", finished)
    assert code == 0
    assert "running" in out
    assert "search" in out  # the bill so far
    (finished / "bill.json").write_text("{")
    assert call("show", finished)[0] == 0


def test_list(call):
    code, out, _ = call("list", "--json")
    found = json.loads(out)
    assert code == 0
    for point in entry_points(group="hpo_bench.methods"):
        assert found["methods"][point.name]["summary"]
    assert found["methods"]["implicit"]["options"]["solver"] == "identity"
    assert {name: method["takes"] for name, method in found["methods"].items() if name in ("none", "tpe", "mgda")} == {
        "none": [],
        "tpe": ["validation", "trials"],
        "mgda": ["gradients"],
    }
    assert set(found["adaptations"]) >= {"full", "probe", "neighbours"}
    assert all(found["encoders"].values())
    assert "quadratic" in found["tasks"]
    assert {"quick", "standard", "paper"} <= set(found["presets"])
    code, out, _ = call("list")
    assert code == 0
    assert all(name in out for name in ("tapweight", "implicit", "quadratic", "standard", "gamma=0.1"))


@pytest.mark.parametrize(
    "words", [[], ["run"], ["compare"], ["list"], ["show"], ["data"], ["data", "fetch"], ["pretrain-base"]]
)
def test_every_command_has_help(words):
    told = CliRunner().invoke(app, [*words, "--help"], terminal_width=200)
    assert told.exit_code == 0
    assert "Usage" in told.output
    assert told.output == CliRunner().invoke(app, [*words, "-h"], terminal_width=200).output


def test_help_and_show_import_nothing_heavy(finished):
    """Checked in one fresh process, command after command."""
    code = """
import io, sys
from contextlib import redirect_stdout
from hpo_bench.__main__ import main
heavy = ("torch", "ray", "optuna", "rdkit", "pandas", "matplotlib", "scipy", "sklearn", "numpy", "filelock")
for words in (["--help"], ["run", "--help"], ["show", sys.argv[1]], ["show", sys.argv[1], "--json"]):
    sys.argv[1:] = words
    with redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    assert out.getvalue(), words
    print(words[0], [name for name in heavy if name in sys.modules])
"""
    code = code.replace("sys.argv[1]", repr(str(finished)))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout.splitlines() == ["--help []", "run []", "show []", "show []"], told.stderr


def test_list_imports_no_rival_s_library():
    code = """
import sys
sys.argv = ["hpo-bench", "list", "--json"]
from hpo_bench.__main__ import main
try:
    main()
finally:
    print([n for n in ("ray", "optuna", "pandas", "matplotlib", "transformers") if n in sys.modules], file=sys.stderr)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stderr.splitlines()[-1] == "[]"


def test_the_module_and_the_console_script_are_the_same(tmp_path):
    [script] = [point for point in entry_points(group="console_scripts") if point.name == "hpo-bench"]
    assert script.load() is main
    words, told = ["show", "nowhere"], []
    for command in ([sys.executable, "-m", "hpo_bench"], [str(Path(sys.executable).with_name("hpo-bench"))]):
        told.append(subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path))
    assert told[0].returncode == told[1].returncode == 2
    assert told[0].stderr == told[1].stderr
    assert "there is no run at nowhere" in told[0].stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export", "--to", "csv", "--tracking-uri", "http://x"], "--tracking-uri cannot go with --to csv"),
        (["export", "--to", "parquet", "--experiment", "mine"], "--experiment cannot go with --to parquet"),
        (["export", "--to", "mlflow", "--tracking-uri", "x", "--out", "y"], "--out cannot go with --tracking-uri"),
        (["study", "s.yaml", "--ray-timeout", "5"], "--ray-timeout cannot go without --ray-address"),
        (["run", "-m", "random", *EQUAL[3:], "--ray-timeout", "5"], "--ray-timeout cannot go without --ray-address"),
        (["pretrain-base", "--corpus", "c", "--out", "o", "--data-dir", "d"], "--data-dir cannot go with --corpus"),
    ],
)
def test_an_option_that_nobody_would_read_is_refused(call, words, told):
    code, _, err = call(*words)
    assert code == 2
    assert told in err
    assert os.listdir() == []


def test_every_option_says_what_it_is():
    from typer.main import get_command

    def verbs(command, path=()):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from verbs(inner, (*path, name))

    silent = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in verbs(get_command(app))
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []
