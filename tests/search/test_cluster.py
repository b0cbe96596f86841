"""A cluster that loses machines: nodes that share nothing with the driver are killed, others join, nothing is lost."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.search.nodes import Nodes, processes_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nodes are made with Linux's tools"),
]
SIZES = ["--task", "quadratic", "--preset", "quick", "--device", "cpu", "--retrains", "0"]
SIZES += ["--set", "batch_size=16", "--set", "mode=probe", "--set", "learning_rate=0.1"]
LONG = 3600  # seconds until a test that hangs, or finds what stays behind, gives up, on any machine
STARTED = []  # programs of the test that runs


@pytest.fixture(scope="module")
def nodes():
    cluster = Nodes()
    yield cluster
    cluster.end()
    until(lambda: not cluster.leftovers(), cluster.leftovers)
    assert not cluster.folder.exists()


@pytest.fixture(autouse=True)
def temporary(monkeypatch):
    """A temporary folder for what a test starts: nothing is left in it, and nobody who was told of it."""
    folder = Path(tempfile.mkdtemp(prefix="hb-t-", dir="/tmp"))  # short: Ray's sockets lie below
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/hb-inductor")  # PyTorch's own, nobody's leftover
    yield folder
    until(lambda: not processes_of(str(folder)), lambda: processes_of(str(folder)))
    assert not list(folder.iterdir())
    folder.rmdir()


@pytest.fixture(autouse=True)
def _two_nodes(nodes, temporary):
    while len(nodes.nodes) < 2:
        nodes.add()
    yield
    for process in STARTED:
        process.kill()  # of a test that failed
        process.wait()
    STARTED.clear()
    until(lambda: not nodes.kept(), nodes.kept)


def until(true, tell):
    """Wait for a state."""
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, tell()
        time.sleep(0.1)


def start(*words, cwd=None, **environment):
    own = {**os.environ, "OMP_NUM_THREADS": "1", "HPO_BENCH_THREADS": "1", "COLUMNS": "250", **environment}
    command = [sys.executable, "-m", "hpo_bench", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=own, cwd=cwd, start_new_session=True, **pipes)
    STARTED.append(process)
    return process


def call(*words, **more):
    process = start(*words, **more)
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err


def meanwhile(process, true):
    """Wait for a state that a running program brings about."""
    until(lambda: process.poll() is not None or true(), lambda: process.args)
    assert process.poll() is None, process.communicate()


def lose_both(nodes, process, first, second):
    """Kill a node in state `first`, the other in state `second`; then one joins, and does what there is left."""
    for state in (first, second):
        meanwhile(process, state)
        nodes.kill(nodes.nodes[0])
    nodes.add()
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    return out, err


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def patient(nodes, seconds=LONG):
    return ["--ray-address", nodes.address, "--ray-timeout", seconds]


def found(folder):
    keep = ("number", "state", "weights", "value", "schedule")
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return [{key: trial[key] for key in keep} for trial in trials]


def unbroken(nodes, *words):
    """The same with two nodes that stay."""
    nodes.add()
    return call(*words, *patient(nodes))


def begun_pieces(folder, watched):
    """Trials, or members' intervals, that a worker has told the cost of, and that are not done."""
    bills = {path.stem for path in folder.glob("workspace/bills/*.json")}
    done = {path.stem for path in folder.glob("workspace/finished/*.json")}
    recorded = [json.loads(line) for line in (folder / watched).read_text().splitlines()]
    return bills - done - {line.get("unit") or f"{line['number']:05d}" for line in recorded}


@pytest.mark.parametrize(
    ("method", "budget", "watched", "counts"),
    [("grid", 8, "trials.jsonl", (2, 4)), ("tpe", 8, "trials.jsonl", (2, 4)), ("pbt", 9, "trajectory.jsonl", (4, 7))],
)
def test_nodes_die_and_another_joins(nodes, tmp_path, method, budget, watched, counts):
    words = ["run", "--method", method, "--budget", budget, *SIZES, "--set", "steps=1500", "--workers", 2]
    folder, whole = (tmp_path / name / f"quadratic/{method}/seed-0" for name in ("broken", "whole"))
    process = start(*words, *patient(nodes), "--out", tmp_path / "broken")

    def in_the_middle(count):  # of a piece of work, too: what it has cost so far is on a bill
        return lambda: lines(folder / watched) >= count and begun_pieces(folder, watched)

    _, err = lose_both(nodes, process, *map(in_the_middle, counts))
    assert "its piece of work is done again" in err
    code, out, err = unbroken(nodes, *words, "--out", tmp_path / "whole")
    assert code == 0, out + err
    assert found(folder) == found(whole)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert sum(kind["count"] for kind in record["environments"][0]["nodes"]) == 3
    cost = json.loads((whole / "run.json").read_text())["cost"]["search"]["step_equivalents"]
    assert cost < record["cost"]["search"]["step_equivalents"] < 1.5 * cost
    assert sorted(path.name for path in folder.rglob("*")) == sorted(path.name for path in whole.rglob("*"))


def test_all_nodes_die_and_the_same_command_goes_on_elsewhere(nodes, tmp_path):
    """The search ends with a sentence when no machine is left; the head's address is no part of the run."""
    words = ["run", "--method", "random", "--budget", "6", *SIZES, "--set", "steps=600", "--workers", 2]
    words += ["--out", tmp_path / "runs"]
    process = start(*words, *patient(nodes, 180))
    trials = tmp_path / "runs" / "quadratic" / "random" / "seed-0" / "trials.jsonl"
    meanwhile(process, lambda: lines(trials) >= 2)
    for node in list(nodes.nodes):
        nodes.kill(node)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 2, out + err
    assert "the cluster has had no CPU for" in err
    before = trials.read_text()
    assert 2 <= before.count("\n") < 6
    code, out, err = call(*words)
    assert code == 0, out + err
    assert trials.read_text().startswith(before)
    assert [trial["number"] for trial in found(trials.parent)] == list(range(6))


def test_fewer_cpus_than_workers_are_told_and_a_file_of_the_user_is_sent(nodes, tmp_path):
    rows = [f"{'C' * (1 + n % 20)}{'O' * (n // 20)},{n % 2}" for n in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["smiles,y", *rows]) + "\n")
    words = ["run", "--method", "random", "--budget", "4", "--task", "csv", "--path", "own.csv", "--label", "y"]
    words += ["--kind", "classification", "--split", "random", "--objectives", "atom", "--preset", "quick"]
    words += ["--retrains", "0", "--set", "steps=4", "--set", "batch_size=8", "--set", "epochs=1", "--device", "cpu"]
    code, out, err = call(*words, "--workers", 4, *patient(nodes), cwd=tmp_path)
    assert code == 0, out + err
    assert "4 workers were asked for, and the cluster has 2 CPUs now" in err
    assert len(found(tmp_path / "runs" / "csv" / "random" / "seed-0")) == 4


@pytest.mark.parametrize("method", ["random", "pbt"])
def test_an_address_in_the_environment_hinders_nobody(nodes, tmp_path, method):
    words = ["run", "--method", method, "--budget", "4", *SIZES, "--set", "steps=24", "--out", tmp_path]
    code, out, err = call(*words, "--workers", 2, RAY_ADDRESS="127.0.0.1:1")
    assert code == 0, out + err
    words += ["--seed", 1, "--ray-address", "auto", "--ray-timeout", LONG]
    code, out, err = call(*words, "--workers", 2, RAY_ADDRESS=nodes.address)
    assert code == 0, out + err


def test_a_cluster_that_asks_for_a_token_is_told_apart(tmp_path):
    cluster = Nodes(token="a-token-of-more-than-thirty-two-letters")
    words = ["run", "--method", "random", "--budget", "2", *SIZES, "--set", "steps=24", "--out", tmp_path]
    words += ["--workers", 2, *patient(cluster)]
    try:
        code, _, err = call(*words, RAY_AUTH_MODE="disabled")
        assert code == 2, err
        assert "it asks for a token" in err
        assert "Traceback" not in err
        cluster.add()
        code, _, err = call(*words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a-token-of-more-than-thirty-two-letters")
        assert code == 0, err
    finally:
        cluster.end()


STUDY = """
name: broken
tasks: [quadratic]
methods: [equal, random, {method: tpe, options: {startup_trials: 2}}]
seeds: 8
preset: quick
budget: 3
retrains: 1
protocol: {steps: 300, batch_size: 16, mode: probe, learning_rate: 0.1}
device: cpu
"""


def test_a_study_of_24_runs_loses_nodes(nodes, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    words = ["study", tmp_path / "study.yaml", "--workers", 2]
    process = start(*words, "--out", tmp_path / "runs", *patient(nodes))

    def begun(count):
        return lambda: len([*tmp_path.glob("runs/quadratic/*/seed-*/run.json")]) >= count

    out, err = lose_both(nodes, process, begun(6), begun(14))
    assert "24 finished now" in out
    assert "its worker died, it is gone on with elsewhere" in err
    code, out, err = unbroken(nodes, *words, "--out", tmp_path / "whole")
    assert code == 0, out + err
    for method in ("equal", "random", "tpe"):
        for seed in range(8):
            one, other = (tmp_path / name / "quadratic" / method / f"seed-{seed}" for name in ("runs", "whole"))
            assert found(one) == found(other)
            results = [json.loads((folder / "run.json").read_text()) for folder in (one, other)]
            assert [record["status"] for record in results] == ["done", "done"]
            assert results[0]["result"]["weights"] == results[1]["result"]["weights"]
            tests = [
                [json.loads(line)["test"] for line in (folder / "tests.jsonl").read_text().splitlines()]
                for folder in (one, other)
            ]
            assert tests[0] == tests[1]


LARGE = """
name: large
tasks: [quadratic]
methods: [{method: pbt, options: {workers: 2}, label: wide}, equal, random]
preset: quick
budget: 6
retrains: 0
protocol: {steps: 300, batch_size: 16, mode: probe, learning_rate: 0.1}
device: cpu
"""


def test_a_study_is_told_what_its_machines_cannot_do_and_does_not_wait_for_ever(nodes, tmp_path):
    (tmp_path / "study.yaml").write_text(LARGE)
    words = ["study", tmp_path / "study.yaml", "--workers", 4, "--out", tmp_path / "runs", *patient(nodes, 180)]
    code, out, err = call(*words)  # every node has one CPU
    assert code == 1, out + err
    assert "4 workers were asked for, and the cluster has 2 CPUs now" in err
    assert "pbt@wide seed 0: no machine has what it asks for, 2 CPUs; it waits for one to join" in err
    assert "2 finished now, 0 were done before, 1 failed" in out
    for node in list(nodes.nodes):
        nodes.kill(node)
    code, out, err = call(*words)
    assert code == 2, out + err
    assert "the cluster has had no CPU for" in err
    assert "Traceback" not in err
