"""What other programs read: LaTeX, Parquet, TensorBoard, MLflow."""

import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from synthetic import write_run, write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.export.latex import escape, to_latex
from hpo_bench.compare.export.mlflow import KEY, log_runs
from hpo_bench.compare.export.tables import write_tables
from hpo_bench.compare.export.tensorboard import write_events
from hpo_bench.errors import UserError
from hpo_bench.records.load import load_trajectories, load_trials


@pytest.fixture
def runs(tmp_path):
    """Three methods with two repetitions, one with a trajectory, and a failed and a running run."""
    root = write_runs(tmp_path / "runs", methods=("equal", "tpe", "tapweight"), repetitions=2, trials=3)
    write_run(root, method="random", status="failed", error="boom", result=None)
    write_run(root, method="pbt", status="running", result=None, ended=None)
    return root


def test_latex_escapes_what_latex_would_read(tmp_path):
    assert escape("a_b & 5 % ^~\\") == r"a\_b \& 5 \% \textasciicircum{}\textasciitilde{}\textbackslash{}"
    for solver in ("cg", "cg_100%"):
        config = {"method_options": {"solver": solver}, "protocol": {"steps": 300}, "budget": {}, "task_options": {}}
        write_run(tmp_path / solver, "my_task", "tapweight", config=config)
    write_run(tmp_path / "e", "my_task", "equal")
    text = to_latex(compare(tmp_path, tmp_path / "out", figures=False).rows)
    assert r"tapweight [solver=cg\_100\%]" in text
    assert r"my\_task" in text


def test_latex_table_holds_the_numbers_of_the_table(runs, tmp_path):
    found = compare(runs, tmp_path / "out", figures=False)
    text = (tmp_path / "out" / "table.tex").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("equal &", "tpe &", "tapweight &"))]
    assert len(lines) == len(found.rows) == 3
    assert {line.count("&") for line in lines} == {4}
    for row, line in zip(found.rows, lines, strict=True):
        assert rf"{row.test.value:.3f} \pm {row.test.half_width:.3f}" in line
    best = max(found.rows, key=lambda row: row.test.value).method
    assert [line.split(" &")[0] for line in lines if r"\mathbf" in line] == [best]
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    rules = re.findall(r"\\(?:top|mid|bottom)rule", text)
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(runs, tmp_path):
    compare(runs, tmp_path / "out", figures=False)
    table = (tmp_path / "out" / "table.tex").read_text()
    whole = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}\\end{{document}}\n"
    (tmp_path / "whole.tex").write_text(whole)
    subprocess.run(["pdflatex", "-halt-on-error", "whole.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_the_table_in_parquet_is_the_frame(runs, tmp_path):
    found = compare(runs, tmp_path / "out", figures=False)
    back = pd.read_parquet(tmp_path / "out" / "table.parquet")
    pd.testing.assert_frame_equal(back, found.frame(), check_dtype=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_all_records_as_tables(runs, tmp_path, kind):
    files = write_tables(runs, tmp_path, kind)
    read = pd.read_csv if kind == "csv" else pd.read_parquet
    tables = {file.stem: read(file) for file in files}
    assert sorted(tables["runs"]["status"]) == ["done"] * 6 + ["failed", "running"]
    assert tables["trials"]["value"].tolist() == pytest.approx(load_trials(runs)["value"].tolist())
    weights = tables["trajectories"]["weights"]
    first = json.loads(weights[0]) if kind == "csv" else weights[0].tolist()
    assert first == load_trajectories(runs)["weights"][0]


def test_tensorboard_reads_the_trajectories_back(runs, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # a second export replaces the first
        folders = write_events(runs, tmp_path / "logs")
    assert len(folders) == 8
    events = accumulator.EventAccumulator(str(tmp_path / "logs" / "bace" / "tapweight" / "seed-1"))
    events.Reload()
    scalars = events.Scalars("weights/atom")
    own = load_trajectories(runs)
    own = own[own["seed"] == 1]
    assert [event.step for event in scalars] == own["step"].tolist()
    assert [event.value for event in scalars] == pytest.approx([weights[0] for weights in own["weights"]], rel=1e-6)
    record = json.loads((runs / "bace" / "tapweight" / "seed-1" / "run.json").read_text())
    tests = [entry["test"] for entry in record["result"]["retrained"]]
    assert [event.value for event in events.Scalars("retrained/test")] == pytest.approx(tests, rel=1e-6)


def test_event_files_hold_every_scalar(runs, tmp_path):
    """As they lie on the disk: length, checksum, event, checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    write_events(runs, tmp_path / "logs")
    [file] = (tmp_path / "logs" / "bace" / "tapweight" / "seed-1").iterdir()
    content, found = file.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        event = event_pb2.Event.FromString(content[12 : 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        content = content[16 + size :]
    own = load_trajectories(runs)
    expected = [(step, weights[0]) for step, weights in own[own["seed"] == 1][["step", "weights"]].values]
    atoms = [(step, value) for tag, step, value in found if tag == "weights/atom"]
    assert [step for step, _ in atoms] == [step for step, _ in expected]
    assert [value for _, value in atoms] == pytest.approx([weight for _, weight in expected], rel=1e-6)


def test_mlflow_gets_every_ended_run_once(runs, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert len(log_runs(runs, uri, "mine")) == 7  # six done, one failed; one is still running
    assert log_runs(runs, uri, "mine") == []
    client = tracking.MlflowClient(tracking_uri=uri)
    logged = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    by_folder = {run.data.tags[KEY]: run for run in logged}
    run = by_folder["bace/tapweight/seed-1"]
    record = json.loads((runs / "bace" / "tapweight" / "seed-1" / "run.json").read_text())
    assert run.info.status == "FINISHED"
    assert run.data.params["protocol.steps"] == "300"
    assert run.data.metrics["search/valid"] == pytest.approx(record["result"]["value"])
    assert run.data.metrics["search/step_equivalents"] == pytest.approx(record["cost"]["search"]["step_equivalents"])
    assert len(client.get_metric_history(run.info.run_id, "weights/atom")) == 31
    failed = by_folder["bace/random/seed-0"]
    assert failed.info.status == "FAILED"
    assert "search/valid" not in failed.data.metrics


def test_mlflow_that_is_not_installed_names_the_extra(runs, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # what import sees where there is none
    with pytest.raises(UserError, match=r"hpo-bench\[mlflow\]"):
        log_runs(runs, "sqlite://")


def test_variants_of_a_method_keep_event_files_of_their_own(tmp_path):
    """A label is in the folder's name and not in the record."""
    for label in ("a", "b"):
        folder = write_run(tmp_path / "runs", method="tpe", trials=2).parent
        folder.rename(folder.with_name(f"tpe@{label}"))
    written = write_events(tmp_path / "runs", tmp_path / "events")
    assert [path.relative_to(tmp_path / "events").parts for path in written] == [
        ("bace", "tpe@a", "seed-0"),
        ("bace", "tpe@b", "seed-0"),
    ]
    assert all(len(list(path.glob("events.out.tfevents.*"))) == 1 for path in written)


NAMES = ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(A1)"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path, name):
    write_run(tmp_path / "runs", method="equal", trials=2, task=name.replace("/", " "))
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    assert f"'{name[:3]}" in (tmp_path / "out" / "table.csv").read_text()
    assert found.tasks[0].label.startswith(name[:3])


def test_a_name_is_no_markup(tmp_path):
    folder = write_run(tmp_path / "runs", method="equal", trials=2)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"task": "a [/old] [red]b"}))
    assert "a [/old] [red]b" in str(compare(tmp_path / "runs", tmp_path / "out", figures=False))


@pytest.mark.parametrize("name", ["..", "../..", "/home", ".", "a/../../b"])
def test_the_name_of_a_task_leads_nowhere(tmp_path, name):
    """Figures go into a folder of the task's name below `out`."""
    folder = write_run(tmp_path / "runs", method="equal", trials=2)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"task": name}))
    out = tmp_path / "deep" / "er" / "out"
    found = compare(tmp_path / "runs", out, figures=False)
    assert out in (out / found.tasks[0].slug).resolve().parents


def test_event_files_of_others_stay(tmp_path):
    folder = write_run(tmp_path / "runs", method="equal", trials=2)
    logs = tmp_path / "out" / "bace" / "equal" / folder.name
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1.host").write_text("somebody's")
    for _ in range(2):
        write_events(tmp_path / "runs", tmp_path / "out")
    names = sorted(path.name for path in logs.iterdir())
    assert len(names) == 2
    assert sum(name.endswith(".hpo_bench") for name in names) == 1
