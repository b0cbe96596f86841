"""Studies as a person runs them: real processes, real Ray, the closed-form task."""

import io
import json
import os
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from hpo_bench.__main__ import main
from hpo_bench.cli import app
from hpo_bench.errors import UserError
from hpo_bench.records.files import read_lines
from hpo_bench.run.runner import run as do_run
from hpo_bench.study import check as module
from hpo_bench.study.check import check, states
from hpo_bench.study.execute import Outcome
from hpo_bench.study.plan import expand
from hpo_bench.study.progress import Display, Forecast
from hpo_bench.study.report import crossed
from hpo_bench.study.spec import read_study
from hpo_bench.tasks.base import only_planned
from tests.permissions import read_only

PAIR = "tasks: [quadratic]\nmethods: [equal, random]\n"


def record(folder):
    return json.loads((Path(folder) / "run.json").read_text())


def same_trials(one, other):
    keep = ("number", "state", "weights", "value", "schedule")
    both = [[{key: line[key] for key in keep} for line in read_lines(Path(x) / "trials.jsonl")] for x in (one, other)]
    assert both[0]
    assert both[0] == both[1]


def here(*words):
    """Exit code and output of `hpo-bench WORDS` in this process: for what starts no other one."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def ending(*words):
    """The error that ends `hpo-bench WORDS`."""
    return CliRunner().invoke(app, [str(word) for word in words]).exception


def test_a_run_made_by_the_command_run_is_done(write, tmp_path):
    """And one with another configuration in the same place is refused, all such at once."""
    words = ["run", "--method", "equal", "--task", "quadratic", "--preset", "quick", "--device", "cpu"]
    words += ["--set", "steps=24", "--set", "batch_size=16", "--set", "epochs=1", "--out", tmp_path / "runs"]
    assert here(*words)[0] == 0
    runs = expand(read_study(write(PAIR)), tmp_path / "runs")
    assert states(runs) == ["done", "new"]
    with pytest.raises(UserError, match=r"holds a run of another configuration: config\.budget"):
        states(expand(read_study(write(PAIR + "budget: 3\n")), tmp_path / "runs"))


def test_what_cannot_work_is_found_before_anything_is_trained(write, tmp_path, monkeypatch):
    text = """
tasks:
  - quadratic
  - {task: quadratic, label: odd, options: {colour: red}}
  - {task: csv, options: {path: absent.csv, label: y, kind: regression}}
methods: [equal, {method: pbt, options: {intervals: 500}}, {method: tpe, options: {workers: 0}}]
"""
    with pytest.raises(UserError) as caught:
        check(expand(read_study(write(text)), tmp_path / "runs"))
    told = str(caught.value)
    assert "4 problems" in told
    for part in ("pbt cannot solve quadratic", "workers=0", "quadratic@odd: ", "csv: "):
        assert part in told
    assert not (tmp_path / "runs").exists()


TABLE = """
tasks:
- {task: csv, options: {path: PATH, label: y, kind: classification, split: random, objectives: [atom]}}
methods: [equal]
budget: 1
retrains: 0
"""


def test_features_are_made_where_something_is_trained_alone(write, tmp_path, monkeypatch):
    study = write("tasks: [quadratic, {task: quadratic, label: other}]\nmethods: [equal]\n")
    first, second = expand(read_study(study), tmp_path / "runs")
    do_run(first.config)
    asked = []
    own = module.load_task
    monkeypatch.setattr(module, "load_task", lambda *words: asked.append(only_planned()) or own(*words))
    check([first, second])
    check([first, second], only=True)
    assert asked == [True, False, True, True]


@pytest.mark.parametrize("out", ["file", "file/below", "shut", "shut/below", "/proc/below"])
def test_a_dry_run_says_of_a_place_what_the_run_itself_says(write, tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("here")
    Path("shut").mkdir()
    study, told = write(PAIR), []
    with read_only(Path("shut")):
        for words in (["--dry-run"], ["--dry-run", "--json"], []):
            monkeypatch.setattr("sys.argv", ["hpo-bench", "study", str(study), "--out", out, *words])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 2
            told.append(capsys.readouterr().err)
    assert told[0].startswith(f"error: cannot write {out}")
    assert "choose a folder that you can write to with --out" in told[0]
    assert told == [told[0]] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "shut", "study.yaml"], "nothing was left"


def test_what_is_done_is_told_where_nothing_can_be_written(write, tmp_path):
    study = write(PAIR)
    for run in expand(read_study(study), tmp_path / "runs"):
        do_run(run.config)
    (tmp_path / "runs" / ".studies" / "small" / "logs").mkdir(parents=True)
    words = ["study", study, "--out", tmp_path / "runs"]
    with read_only(tmp_path / "runs"):
        for more in ([], ["--dry-run"], ["--json"]):
            code, told = here(*words, *more)
            assert code == 0, told
        assert "2 were done before, 0 failed" in here(*words)[1]


def test_a_dry_run_names_every_run_s_folder_that_cannot_be(write, tmp_path):
    (tmp_path / "runs" / "quadratic").mkdir(parents=True)
    (tmp_path / "runs" / "quadratic" / "random").write_text("in the way")
    (tmp_path / "runs" / ".studies").symlink_to(tmp_path)
    words = ["study", write(PAIR + "seeds: 2\n"), "--out", tmp_path / "runs", "--dry-run"]
    assert "is a link: files would be written" in str(ending(*words))
    (tmp_path / "runs" / ".studies").unlink()
    told = str(ending(*words))
    assert told.count("cannot write") == 2
    assert "quadratic/random/seed-1: Not a directory" in told


def test_changed_data_are_noticed_before_an_old_score_is_given(write, tmp_path, monkeypatch):
    """By a finished run, by its study, and without reading a file that has not changed."""
    path = tmp_path / "own.csv"
    rows = [f"{'C' * (1 + n % 20)}{'O' * (n // 20)},{n % 2}" for n in range(60)]
    path.write_text("\n".join(["smiles,y", *rows]) + "\n")
    runs = expand(read_study(write(TABLE.replace("PATH", str(path)))), tmp_path / "runs")
    assert do_run(runs[0].config).status == "done"
    with monkeypatch.context() as patch:
        patch.setattr("hpo_bench.study.check.load_task", lambda *_: pytest.fail("there is nothing to load"))
        check(runs)
    path.write_text(path.read_text().replace("\nC,0\n", "\nC,1\n"))
    with pytest.raises(UserError, match="the file has changed since: its table"):
        check(runs)
    with pytest.raises(UserError, match="the file has changed since: its table"):
        do_run(runs[0].config)


def test_one_that_fails_stops_nobody(write, hpo_bench, tmp_path):
    """Its reason is told, exit code 1; the next time only it is tried again; a dry run trains nothing.

    What asks for more than this machine has fails at once and is not waited for.
    """
    _, call = hpo_bench
    tasks = "tasks:\n- {task: quadratic, label: wild, protocol: {learning_rate: 1e30}}\n- quadratic\n"
    methods = "methods:\n- equal\n- {method: none, resources: {memory_gb: 1000000}}\n"
    study, out = write(tasks + methods), tmp_path / "runs"
    code, told = here("study", study, "--out", out, "--dry-run")
    assert (code, out.exists()) == (0, False), told
    code, told, err = call("study", study, "--out", out)
    assert code == 1, err
    assert "1 finished now, 0 were done before, 3 failed" in told
    assert "quadratic@wild equal seed 0: diverged: equal diverged" in told
    assert "quadratic none seed 0: failed: no machine has what it asks for, 1 CPUs and 1e+06 GB of memory" in told
    assert "quadratic equal seed 0: done" in err
    assert record(out / "quadratic" / "equal" / "seed-0")["status"] == "done"
    assert record(out / "quadratic@wild" / "equal" / "seed-0")["status"] == "diverged"
    code, told, _ = call("study", study, "--out", out, "--json")
    assert code == 1
    ends = {(run["task"], run["method"]): (run["before"], run["status"]) for run in json.loads(told)["runs"]}
    assert ends["quadratic@wild", "equal"] == ("begun", "diverged")
    assert ends["quadratic", "equal"] == ("done", "done")
    assert {ends[task, "none"][1] for task in ("quadratic", "quadratic@wild")} == {"failed"}


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["kill", "ctrl-c", "term"])
@pytest.mark.slow
def test_goes_on_where_each_run_stood(write, hpo_bench, tmp_path, kill):
    """The same command again: nothing recorded is trained again, and the result is that of an unbroken run."""
    start, call = hpo_bench
    sizes = "\npreset: quick\nprotocol: {steps: 3000, batch_size: 16, epochs: 1}\ndevice: cpu\n"
    study, out = write(PAIR, sizes), tmp_path / "runs"
    process = start("study", study, "--out", out, "--workers", "2")
    trials = out / "quadratic" / "random" / "seed-0" / "trials.jsonl"
    deadline = time.monotonic() + 240
    while not (trials.exists() and trials.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, kill)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (-kill if kill == signal.SIGKILL else 128 + kill), err
    assert kill == signal.SIGKILL or err.splitlines()[-1] == "stopped; the same command goes on from what is saved"
    before = trials.read_text().splitlines()
    assert 2 <= len(before) < 8

    code, told, err = call("study", study, "--out", out, "--workers", "2")
    assert code == 0, told + err
    after = trials.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 8
    assert record(trials.parent)["sessions"] == 2
    code, told, err = call("study", study, "--out", tmp_path / "whole")
    assert code == 0, told + err
    same_trials(trials.parent, tmp_path / "whole" / "quadratic" / "random" / "seed-0")
    code, told, _ = call("study", study, "--out", out)
    assert code == 0
    assert "0 finished now, 2 were done before" in told


@pytest.mark.slow
def test_pbt_in_a_study_is_pbt_alone(write, hpo_bench, tmp_path):
    """It starts a Ray of its own inside the study's, with as many CPUs as it has workers."""
    _, call = hpo_bench
    study = write("tasks: [quadratic]\nmethods: [{method: pbt, options: {workers: 2}}, equal]\n")
    code, told, err = call("study", study, "--out", tmp_path / "study", "--workers", "2")
    assert code == 0, told + err
    words = ["run", "--method", "pbt", "--task", "quadratic", "--preset", "quick", "--device", "cpu", "-o", "workers=2"]
    words += ["--set", "steps=24", "--set", "batch_size=16", "--set", "epochs=1", "--out", tmp_path / "run"]
    code, _, err = call(*words)
    assert code == 0, err
    one, other = (tmp_path / place / "quadratic" / "pbt" / "seed-0" for place in ("study", "run"))
    same_trials(one, other)
    assert [record(x)["result"]["schedule"] for x in (one,)] == [record(other)["result"]["schedule"]]
    tests = [[line["test"] for line in record(x)["result"]["retrained"]] for x in (one, other)]
    assert tests[0] == tests[1]


def test_time_left_is_that_of_the_nearest_kin():
    forecast = Forecast(workers=2)
    assert forecast.left([("bace", "tpe")], []) is None
    forecast.learn(("bace", "equal"), 10.0)
    forecast.learn(("bace", "tpe"), 100.0)
    forecast.learn(("esol", "tpe"), 60.0)
    assert forecast.of(("esol", "tpe")) == 60.0
    assert forecast.of(("bbbp", "tpe")) == 80.0  # of the method
    assert forecast.of(("bace", "pbt")) == 55.0  # of the task
    assert (
        forecast.left([("esol", "tpe"), ("bace", "equal")], [(("bace", "tpe"), 70.0), (("bace", "equal"), 99.0)]) == 50
    )


def test_the_table_counts_what_happens(write, tmp_path):
    runs = expand(read_study(write(PAIR + "seeds: 3\n")), tmp_path / "runs")
    display = Display("small", runs, ["new"] * 6, workers=2)
    display.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    for run in [*runs[:4], runs[2]]:  # equal and random, twice; one worker died, and its run is handed out again
        display.started(run)
    display.finished(Outcome(runs[0], "done", None, 20.0))
    display.finished(Outcome(runs[1], "failed", "no memory", 1.0))
    with display.console.capture() as told:
        display.console.print(display._render())
    text = Text.from_ansi(told.get()).plain
    assert "1/3 1 running" in text
    assert "0/3 1 running 1 failed" in text
    assert "2 of 6 (33%)" in text
    assert "about 40 s left" in text  # two waiting and two just begun, 20 s each, on two workers
    assert "running: quadratic equal seed 1, quadratic random seed 1" in text


def test_many_methods_go_down_the_page():
    names = [f"method-{number}" for number in range(27)]
    console = Console(width=80)
    for cells in ([("bace", name) for name in names], [(name, "equal") for name in names]):
        with console.capture() as told:
            console.print(crossed("a study", cells, lambda cell: "0/3"))
        lines = [line for line in told.get().splitlines() if "0/3" in line]
        assert [line.strip("│ ").split()[0] for line in lines] == names


def test_a_record_that_names_no_files_is_older_and_done(write, tmp_path):
    """What the options' files were is kept since lately; a study goes on over records of before."""
    study = read_study(write("tasks: [quadratic]\nmethods: [none]\nseeds: 1\n"))
    [planned] = expand(study, tmp_path / "runs")
    do_run(planned.config)
    path = planned.config.folder / "run.json"
    content = json.loads(path.read_text())
    del content["files"]
    path.write_text(json.dumps(content))
    check(expand(study, tmp_path / "runs"))
    assert planned.state() == "done"
