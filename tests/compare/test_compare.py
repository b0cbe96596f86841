"""From run folders to tables, figures and verdicts."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from rich.console import Console
from synthetic import write_run, write_runs

from hpo_bench.__main__ import main
from hpo_bench.compare import compare
from hpo_bench.compare.charts.landscape import landscape
from hpo_bench.compare.charts.printed import save
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.style import OWN_METHODS, method_order, method_style, objective_colours
from hpo_bench.compare.tables.table import plus_minus
from hpo_bench.compare.tables.verdict import _fraction
from hpo_bench.errors import UserError

TASK_FIGURES = ("cost-accuracy", "anytime", "weights", "trajectories", "time", "landscape")


@pytest.fixture
def no_figures(monkeypatch):
    """For tests that look at tables alone."""
    monkeypatch.setattr("hpo_bench.compare.charts.draw.jobs", lambda *arguments: [])


@pytest.fixture
def empty_figures(monkeypatch):
    """Every chart is described and has its files, but nothing is drawn into them: that takes seconds."""

    def save(chart, path):
        files = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            file.touch()
        return files

    monkeypatch.setattr("hpo_bench.compare.charts.printed.save", save)


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Five methods, three repetitions, one task; with a failed and a running run among them."""
    root = tmp_path_factory.mktemp("five")
    write_runs(root / "runs", methods=("equal", "grid", "tpe", "pbt", "tapweight"))
    write_run(root / "runs", method="random", status="failed", error="boom", result=None)
    write_run(root / "runs", method="tpe", seed=7, status="running", result=None, ended=None)
    return compare(root / "runs", root / "out"), root


def test_rows_and_files(five):
    found, root = five
    assert [row.method for row in found.rows] == ["equal", "grid", "tpe", "pbt", "tapweight"]
    assert all((root / "out" / "bace" / f"{name}.{kind}").exists() for name in TASK_FIGURES for kind in ("png", "svg"))
    table = pd.read_csv(root / "out" / "table.csv")
    assert table["n"].tolist() == [3] * 5
    assert table["minus_equal"].isna().tolist() == [True, False, False, False, False]
    assert table["weight_atom"][0] == pytest.approx(1 / 6, abs=1e-5)
    record = json.loads((root / "out" / "table.json").read_text())
    assert record["rows"][0]["minus_equal"] is None
    assert record["verdicts"][0]["task"] == "bace"


def test_numbers_agree_with_the_records(five):
    found, root = five
    tests = {}
    for method in ("equal", "tpe"):
        files = sorted((root / "runs" / "bace" / method).glob("seed-[012]/run.json"))
        records = [json.loads(file.read_text()) for file in files]
        tests[method] = np.array([[entry["test"] for entry in record["result"]["retrained"]] for record in records])
    row = next(row for row in found.rows if row.method == "tpe")
    assert row.test.value == pytest.approx(tests["tpe"].mean())
    assert row.versus.difference.value == pytest.approx((tests["tpe"] - tests["equal"]).mean())
    assert row.retrainings == 9


def test_what_is_no_result_is_named_and_left_out(five):
    found, _ = five
    assert found.notes[0] == "not counted as results: 1 failed (random on bace), 1 running (tpe on bace)"


def test_the_verdict_begins_with_whether_weights_matter(five):
    found, _ = five
    (entry,) = found.verdicts
    number = r"\d+ % \(\d+–\d+ %\) of the variance"
    assert re.match(f"On bace the choice of weights explains {number} of the test ROC-AUC", entry.weights_matter)
    assert "tpe" in entry.verdict or "tapweight" in entry.verdict


@pytest.mark.usefixtures("empty_figures")
def test_before_all_stands_whether_pretraining_pays(tmp_path):
    """The numbers of the sentence are those of the records; the base alone takes no place among the weightings."""
    write_runs(tmp_path / "runs", methods=("none", "equal", "tpe"), noise=0.001)
    found = compare(tmp_path / "runs", tmp_path / "out")
    (entry,) = found.verdicts
    tests = {}
    for method in ("none", "equal"):
        files = sorted((tmp_path / "runs" / "bace" / method).glob("*/run.json"))
        tests[method] = np.array([[e["test"] for e in json.loads(f.read_text())["result"]["retrained"]] for f in files])
    difference = (tests["equal"] - tests["none"]).mean()
    assert f"against the base alone: +{difference:.3f} ± " in entry.pretraining_pays
    assert entry.pretraining_pays.endswith("it pays.")
    assert found.to_markdown().startswith(entry.pretraining_pays)
    assert str(found).startswith(entry.pretraining_pays[:60])
    assert entry.pretraining_pays in (tmp_path / "out" / "report.html").read_text()
    write_runs(tmp_path / "two", methods=("equal", "tpe"), noise=0.001)
    without = compare(tmp_path / "two", tmp_path / "out2", figures=False)
    assert without.verdicts[0].variance["test_found"].weights == entry.variance["test_found"].weights
    assert "not known whether continued pretraining pays" in without.verdicts[0].pretraining_pays


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("gain", "said"), [(0.05, "it harms"), (0.0, "cannot be told from noise")])
def test_pretraining_that_does_not_pay_is_said_to(tmp_path, monkeypatch, gain, said):
    monkeypatch.setitem(synthetic.GAIN, "none", gain)
    write_runs(tmp_path / "runs", methods=("none", "equal"), tasks=("bace", "esol"), noise=0.001 if gain else 0.02)
    found = compare(tmp_path / "runs", tmp_path / "out")
    assert all(said in entry.pretraining_pays for entry in found.verdicts)  # esol's metric is an error


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_table_is_whole(five, width):
    found, _ = five
    console = Console(width=width)
    with console.capture() as capture:
        console.print(found)
    text = capture.get()
    assert "…" not in text
    assert text.count("tapweight ") >= (3 if width == 80 else 1)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_same_records_same_bytes(five, tmp_path):
    _, root = five
    compare(root / "runs", tmp_path)
    for name in ("table.csv", "table.md", "table.json", "bace/cost-accuracy.svg", "bace/weights.png"):
        assert (tmp_path / name).read_bytes() == (root / "out" / name).read_bytes(), name


@pytest.mark.usefixtures("empty_figures")
def test_two_methods_one_task_one_repetition(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe"), repetitions=1, retrains=1)
    found = compare(tmp_path / "runs", tmp_path / "out")
    assert not any(row.test.has_interval for row in found.rows)
    assert not found.rows[1].versus.difference.has_interval
    assert "nothing can be said on whether weights matter" in found.verdicts[0].weights_matter
    assert "with one repetition no difference can be told from noise" in found.verdicts[0].verdict
    assert any(note.startswith("one repetition gives no interval: equal on bace, tpe on bace") for note in found.notes)


@pytest.mark.usefixtures("no_figures")
def test_a_best_score_by_one_repetition_is_no_verdict(tmp_path):
    """Nothing can be within the noise of it, which nobody knows; those with more repetitions are told of."""
    write_runs(tmp_path / "runs", methods=("equal", "tapweight"), repetitions=3)
    write_runs(tmp_path / "runs", methods=("grid",), repetitions=1)
    record = next((tmp_path / "runs").glob("*/grid/seed-0/run.json"))
    kept = json.loads(record.read_text())
    for retrained in kept["result"]["retrained"]:
        retrained["test"] = 0.99
    record.write_text(json.dumps(kept))
    told = compare(tmp_path / "runs", tmp_path / "out").verdicts[0].verdict
    assert told.startswith("On bace grid has the best test score (0.99")
    assert "by one repetition, which cannot be told from noise; of those with more, " in told
    assert "of grid, the best" not in told


@pytest.mark.usefixtures("no_figures")
def test_without_the_reference_there_is_no_difference_column(tmp_path):
    write_runs(tmp_path / "runs", methods=("grid", "tpe"), repetitions=2)
    found = compare(tmp_path / "runs", tmp_path / "out")
    assert not [name for name in found.frame() if "minus" in name]
    assert "bace: no finished run of equal, so no paired difference to it" in found.notes
    assert "minus" not in found.to_markdown()


@pytest.mark.usefixtures("empty_figures")
def test_tasks_without_a_method_in_common(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal",), tasks=("esol",))
    write_runs(tmp_path / "runs", methods=("grid",), tasks=("bace",))
    found = compare(tmp_path / "runs", tmp_path / "out")
    assert [(row.task, row.method) for row in found.rows] == [("bace", "grid"), ("esol", "equal")]
    assert found.ranking is None
    assert (tmp_path / "out" / "esol" / "cost-accuracy.png").exists()


@pytest.mark.usefixtures("empty_figures")
def test_several_tasks_get_a_table_over_all(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe", "zeus"), tasks=("bace", "esol"), trials=2)
    found = compare(tmp_path / "runs", tmp_path / "out")
    assert [row.method for row in found.overall] == ["equal", "tpe", "zeus"]
    assert found.overall[1].mean.has_interval
    assert "too few to test ranks" in found.ranking.sentence
    assert (tmp_path / "out" / "heat-map.png").exists()
    assert not (tmp_path / "out" / "ranks.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_other_settings_are_not_mixed(tmp_path):
    for mode in ("full", "probe"):
        config = {"method_options": {}, "task_options": {}, "protocol": {"steps": 300, "mode": mode}, "budget": {}}
        for method in ("equal", "tpe"):
            write_run(tmp_path / mode, method=method, trials=2, config=config)
    found = compare(tmp_path, tmp_path / "out")
    assert [verdict.task for verdict in found.verdicts] == ["bace [mode=full]", "bace [mode=probe]"]


@pytest.mark.usefixtures("no_figures")
def test_variants_of_a_task_go_by_their_folders_or_by_names_of_their_own(tmp_path):
    """Lists that differ behind their first letters gave two settings one name, and a report with two tables in one."""
    long = [*"abcdefghijklmnopqrstuvwxyz", "noise"]
    for folder, names in (("bace", long[:-1]), ("bace@planted", long)):
        config = {"method_options": {}, "task_options": {"objectives": names}, "protocol": {"steps": 300}, "budget": {}}
        for method in ("equal", "tpe"):
            run = write_run(tmp_path / "made", method=method, trials=2, config=config)
            for root, place in (("named", folder), (f"apart/{folder}", "bace")):
                shutil.copytree(run, tmp_path / root / place / method / run.name)
            shutil.rmtree(run)
    for root, wanted in (("named", ["bace", "bace@planted"]), ("apart", 2 * ["bace [objectives=a+b+c+d"])):
        found = compare(tmp_path / root, tmp_path / "out" / root)
        labels = sorted(verdict.task for verdict in found.verdicts)
        assert len(set(labels)) == 2
        assert all(label.startswith(start) for label, start in zip(labels, wanted, strict=True))


@pytest.mark.usefixtures("no_figures")
def test_options_of_a_method_make_it_two_methods(tmp_path):
    for solver in ("cg", "identity"):
        config = {"method_options": {"solver": solver}, "protocol": {"steps": 300}, "budget": {}, "task_options": {}}
        write_run(tmp_path / solver, method="tapweight", config=config)
    found = compare(tmp_path, tmp_path / "out")
    assert [row.method for row in found.rows] == ["tapweight [solver=cg]", "tapweight [solver=identity]"]


def test_objective_count_two_and_three_have_their_own_landscape(tmp_path):
    write_runs(tmp_path / "runs", methods=("equal", "tpe"), tasks=("two",), trials=5, objectives=("a", "b"))
    write_runs(tmp_path / "runs", methods=("equal", "tpe"), tasks=("three",), trials=5, objectives=("a", "b", "c"))
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    two, three = sorted(found.tasks, key=lambda task: len(task.objectives))
    for task in (two, three):
        for file in save(landscape(task, "equal"), tmp_path / task.slug):
            assert file.stat().st_size > 1000


def test_nothing_to_compare(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        compare(tmp_path / "none", tmp_path / "out")
    write_run(tmp_path / "runs", status="failed", result=None)
    with pytest.raises(UserError, match="found 1 failed"):
        compare(tmp_path / "runs", tmp_path / "out")


@pytest.mark.parametrize("content", [None, '{"schema": 99, "status": "done"}'])
def test_the_command_refuses_an_empty_folder_and_an_unknown_version_by_name(tmp_path, monkeypatch, capsys, content):
    (tmp_path / "runs").mkdir()
    if content is not None:
        (write_run(tmp_path / "runs") / "run.json").write_text(content)
    words = ["hpo-bench", "compare", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert ("There is no run in" if content is None else "run.json has schema 99; this version") in told


def test_whether_pretraining_pays_and_weights_matter_stand_first_everywhere(five):
    found, _ = five
    (entry,) = found.verdicts
    assert str(found).startswith(entry.pretraining_pays[:60])
    assert entry.weights_matter[:60] in str(found).partition("test ROC-AUC")[0]
    assert found.to_markdown().startswith(f"{entry.pretraining_pays} {entry.weights_matter}")
    assert next(iter(json.loads(found.to_json()))) == "verdicts"
    share = entry.variance["test_found"]
    assert f"{100 * share.weights.value:.0f} % ({100 * share.weights.low:.0f}–{100 * share.weights.high:.0f} %)" in (
        entry.weights_matter
    )
    assert re.search(r"\(p (= [\d.]+|< 0.001)\)", entry.weights_matter)


def test_a_difference_says_which_way_is_better(tmp_path):
    """On RMSE a positive difference is worse."""
    for seed in range(4):
        for method, shift in (("equal", 0.0), ("tpe", 0.2)):
            retrained = [{"index": 0, "seed": seed, "valid": 1.0, "test": 1.0 + 0.1 * seed + shift + 1e-3 * seed}]
            folder = write_run(tmp_path / "runs", "esol", method, seed, trials=2)
            record = json.loads((folder / "run.json").read_text())
            record["result"]["retrained"] = retrained
            (folder / "run.json").write_text(json.dumps(record))
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    assert "tpe +0.200 ± 0.000 (worse)" in found.verdicts[0].verdict
    assert not (tmp_path / "out" / "esol").exists()  # figures=False


def test_a_share_of_the_cost_has_no_exponent():
    assert [_fraction(ratio) for ratio in (0.9, 1 / 7.9, 1 / 134, 1 / 5678)] == ["90 %", "1/7.9", "1/130", "1/5,700"]


def test_an_out_that_cannot_be_written(tmp_path):
    write_run(tmp_path / "runs")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        compare(tmp_path / "runs", tmp_path / "out")


def test_a_method_has_one_colour_whoever_is_beside_it():
    assert method_style(["tpe", "zeus"])["zeus"] == method_style(["equal", "zeus", "grid"])["zeus"]
    many = method_style([f"stranger-{number}" for number in range(30)])
    assert len(set(many.values())) == 30
    styles = method_style([*OWN_METHODS, "zeus", "hera", "ares"])
    assert len({colour for colour, _ in styles.values()}) == len(OWN_METHODS) + 3
    assert method_order(["zeus", "tapweight", "hera", "equal"]) == ["equal", "tapweight", "hera", "zeus"]
    colours = objective_colours(("atom", "mlm", "sop"))
    assert len(set(colours.values())) == 3
    assert colours["atom"] == objective_colours(("noise", "atom"))["atom"]


def test_a_reference_that_was_not_run_is_refused(tmp_path):
    write_run(tmp_path / "runs", method="tpe", trials=2)
    with pytest.raises(UserError, match="Did you mean 'tpe'"):
        compare(tmp_path / "runs", tmp_path / "out", reference="tpf")


def test_runs_of_other_data_are_compared_apart_and_damaged_ones_are_named(tmp_path):
    write_run(tmp_path / "old", trials=2)
    write_run(tmp_path / "new", trials=2, content={"table": "d" * 64, "split": "b" * 64, "corpus": "c" * 64})
    folder = write_run(tmp_path / "bad", method="grid", trials=2)
    (folder / "trials.jsonl").write_text("[1]\n")
    found = compare(tmp_path, tmp_path / "out", figures=False)
    assert sorted(task.label for task in found.tasks) == ["bace [table=aaaaaaaa]", "bace [table=dddddddd]"]
    assert any("2 different settings" in note for note in found.notes)
    assert any(str(folder / "trials.jsonl") in note for note in found.notes)


@pytest.mark.parametrize(
    ("value", "half", "told"),
    [
        (0.7931, 0.0213, "0.793 ± 0.021"),
        (0.02702, 0.00061, "0.0270 ± 0.0006"),
        (-0.00052, 0.00058, "-0.00052 ± 0.00058"),
        (0.7509, 1e-17, "0.751 ± 0.000"),
        (0.5, 0.0, "0.500 ± 0.000"),
    ],
)
def test_an_interval_shows_its_first_digit(value, half, told):
    assert plus_minus(Estimate(value, value - half, value + half, 3)) == told


def test_where_there_is_nothing_to_compare_no_folder_is_made(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        compare(tmp_path / "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    write_runs(tmp_path / "runs")
    with pytest.raises(UserError, match="no finished run of a method named 'nix'"):
        compare(tmp_path / "runs", tmp_path / "out", reference="nix")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_runs_that_share_no_seed_or_were_not_retrained_stand_beside_the_others(tmp_path):
    """Before, one method whose seeds the reference does not have ended everything with a traceback."""
    seeds = {"equal": (1, 2, 3), "tpe": (0, 1, 2), "random": (5, 6), "gp": (5, 6), "pbt": (1, 2, 3)}
    for task in ("bace", "bbbp"):
        for method, own in seeds.items():
            for seed in own:
                write_run(tmp_path / "runs", task, method, seed, retrains=0 if method == "pbt" else 2)
    found = compare(tmp_path / "runs", tmp_path / "out")
    rows = {row.method: row for row in found.rows if row.task == "bace"}
    assert [rows[name].versus.difference.n for name in ("random", "gp", "tpe", "pbt")] == [0, 0, 2, 0]
    assert np.isnan(rows["random"].versus.difference.value)
    assert [rows[name].on_front for name in ("equal", "pbt")] == [True, False], "no score, no front"
    assert "bace: random, gp share no seed with equal" in found.notes
    assert "bace: tpe shares 2 of 3 seeds with equal; the differences are of these" in found.notes
    assert any(
        note.startswith("with 2 repetitions the permutation test cannot give p below 0.5") for note in found.notes
    )


@pytest.mark.parametrize(("methods", "objectives"), [(("none",), ("a", "b")), (("equal", "random"), ("a",))])
def test_figures_of_weights_are_left_out_where_there_are_none_to_choose(tmp_path, methods, objectives):
    """The base alone, or a single objective: before, a traceback."""
    for seed in range(3):
        for method in methods:
            folder = write_run(tmp_path / "runs", method=method, seed=seed, objectives=objectives)
            record = json.loads((folder / "run.json").read_text())
            if method == "none":
                record["result"] |= {"weights": [0.0] * len(objectives), "schedule": [[0, [0.0] * len(objectives)]]}
            (folder / "run.json").write_text(json.dumps(record))
    compare(tmp_path / "runs", tmp_path / "out")
    drawn = {path.stem for path in (tmp_path / "out" / "bace").glob("*.png")}
    assert "cost-accuracy" in drawn
    assert "landscape" not in drawn
    assert ("weights" in drawn) == (methods != ("none",))
