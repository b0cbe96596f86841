"""A study's file: what it expands to, and what is said about one that is wrong."""

import os
from pathlib import Path

import pytest

from hpo_bench.errors import UserError
from hpo_bench.study.check import check
from hpo_bench.study.plan import expand
from hpo_bench.study.spec import read_study

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "experiments").glob("*.yaml"))
GLUE = Path(os.environ.get("HPO_BENCH_SHARED_DATA") or ROOT.parent / "shared" / "data") / "glue"
AT_HAND = {"quadratic", "digits", "bace", "esol", *(("stsb", "rte") if GLUE.is_dir() else ())}


def refused(path):
    with pytest.raises(UserError) as caught:
        read_study(path)
    return str(caught.value)


def test_seed_0_of_everything_comes_first(write):
    runs = expand(read_study(write("tasks: [quadratic, bace]\nmethods: [equal, tpe]\nseeds: 2\n")), Path("runs"))
    assert [run.title for run in runs[:5]] == [
        "quadratic equal seed 0",
        "quadratic tpe seed 0",
        "bace equal seed 0",
        "bace tpe seed 0",
        "quadratic equal seed 1",
    ]
    assert len(runs) == 8
    assert runs[1].config.folder == Path("runs/quadratic/tpe/seed-0")
    assert runs[1].config.protocol.steps == 24
    assert runs[1].config.protocol.patience == 3  # of the preset


def test_what_a_run_is_said_to_be_overrides_what_all_are(write):
    text = """
tasks:
  - {task: bace, label: probed, protocol: {mode: probe}, options: {plant: noise}}
methods:
  - {method: implicit, label: cg, options: {solver: cg, damping: 1e-2}}
seeds: [4]
budget: 3
task_options: {split: random}
"""
    (run,) = expand(read_study(write(text)), Path("runs"))
    assert run.config.folder == Path("runs/bace@probed/implicit@cg/seed-4")
    assert (run.config.protocol.mode, run.config.protocol.steps) == ("probe", 24)
    assert run.config.task_options == {"split": "random", "plant": ["noise"]}
    assert run.config.method_options == {"solver": "cg", "damping": 0.01}
    assert run.config.budget.trials == 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_expand(path):
    study = read_study(path)
    runs = expand(study, Path("runs"))
    assert study.name == path.stem
    assert study.description
    assert len(runs) == len(study.tasks) * len(study.methods) * len(study.seed_list)
    assert len({run.config.folder for run in runs}) == len(runs)


@pytest.mark.parametrize("path", [path for path in SHIPPED if "paper-" not in path.stem], ids=lambda path: path.stem)
def test_the_budgets_of_shipped_studies_pay_for_their_methods(path, tmp_path, monkeypatch):
    """A study that cannot be run as it is shipped is no study; the paper's start from bases that are not shipped."""
    if GLUE.is_dir():
        monkeypatch.setenv("HPO_BENCH_DATA", str(GLUE))
    planned = expand(read_study(path), tmp_path)
    runs = [run for run in planned if run.config.task in AT_HAND and run.config.seed == planned[0].config.seed]
    if not runs:
        pytest.skip("none of its tasks' data are at hand")
    check(runs)


def test_all_six_are_shipped():
    names = {path.stem for path in SHIPPED}
    assert {"bace", "molecules-small", "planted", "ablation-solver", "ablation-levels", "paper-molecules"} <= names


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "tasks: [bace]\nmethodz: [equal]\nmethods: [tpe]\n",
            6,
            "methodz: There is no such key. Did you mean 'methods'",
        ),
        ("tasks: [bace]\nmethods:\n  - equal\n  - {method: tpe, option: {}}\n", 8, "Did you mean 'options'"),
        (
            "tasks: [bace]\nmethods:\n- equal\n- tapwieght\n",
            8,
            "methods[1].method: There is no method named 'tapwieght'",
        ),
        ("methods: [equal]\ntasks:\n- bace\n- bacee\n", 8, "Did you mean 'bace'"),
        (
            "tasks: [bace]\nmethods:\n  - method: implicit\n    options:\n      gamma: 1\n      solvr: cg\n",
            10,
            "methods[0].options.solvr: There is no option of implicit named 'solvr'. Did you mean 'solver'",
        ),
        ("tasks: [bace]\nmethods:\n- {method: implicit, options: {every: often}}\n", 7, "methods[0].options.every"),
        ("tasks: [bace]\nmethods: [equal]\nseeds: many\n", 7, "seeds"),
        ("tasks: [bace]\nmethods: [equal]\nseeds: [0, 1, 0]\n", 7, "a seed is there twice"),
        ("tasks: [bace]\nmethods: [equal]\nbudget: lots\n", 7, "budget"),
        ("tasks: [bace]\nmethods: [equal]\nname: again\n", 7, "name: the key is there twice, first in line 1"),
        ("tasks:\n- {task: bace, protocol: {stepps: 3}}\nmethods: [equal]\n", 6, "Did you mean 'steps'"),
        ("tasks: []\nmethods: [equal]\n", 5, "tasks"),
        ("methods: [equal]\n", 1, "tasks: Field required"),
        ("tasks: [bace]\nmethods: [tpe, equal, tpe]\n", 6, "tpe is there twice; give each variant a label"),
        ("tasks: [bace]\nmethods: [{method: equal, label: ../up}]\n", 6, "label"),
        ("tasks: [bace\nmethods: [equal]\n", 6, "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, text, line, told):
    message = refused(write(text))
    assert f"line {line}" in message
    assert told in message


def test_an_option_that_needs_another_one_is_right_beside_it(write):
    text = "tasks: [bace]\nmethods:\n- method: implicit\n  options: {normalise: true%s}\n"
    (entry,) = read_study(write(text % ", last_step: gradients")).methods
    assert entry.options == {"normalise": True, "last_step": "gradients"}
    assert "line 8, methods[0].options.normalise: normalise needs" in refused(write(text % ""))


def test_all_problems_are_named_at_once(write):
    message = refused(write("tasks: [bacee]\nmethods: [equall, tpe]\nbudget: lots\n"))
    assert "3 problems" in message
    assert message.index("line 5") < message.index("line 6") < message.index("line 7")


def test_cause_and_remedy_stand_apart_on_one_line(write):
    told = refused(write("tasks: [quadratic]\nmethods: [tapwieght]\nbudget: lots\n"))
    assert "cannot read the budget 'lots'; give trials" in told
    assert "Did you mean 'tapweight'? Known: " in told


def test_another_encoding_is_told_with_its_remedy(write):
    path = write("tasks: [quadratic]\nmethods: [equal]\n")
    path.write_bytes(path.read_text().encode("utf-16"))
    assert "save it as UTF-8" in refused(path)


def test_no_file_and_no_mapping(tmp_path):
    assert "cannot read" in refused(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    assert "a study is a mapping" in refused(tmp_path / "list.yaml")


@pytest.mark.parametrize(("text", "reason"), [("a: &a [*a]\n", "refers to itself"), ("name: 2020-13-45\n", "not YAML")])
def test_yaml_that_no_reader_can_take(write, text, reason):
    assert reason in refused(write(text))


PLAIN = "name: a\ntasks: [quadratic]\nmethods: [tpe]\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seeds: true", "line 4, seeds: Input should be a valid integer"),
        ("seeds: [true]", "valid integer"),
        ("seeds: 1e9", "valid integer"),
        ("seeds: 1000000000", "less than or equal to 10000"),
        ("retrains: true", "line 4, retrains"),
        ("budget: true", "line 4, budget"),
        ("budget: ''", "line 4, budget: cannot read"),
        ("protocol: {steps: true}", "line 4, protocol.steps"),
        ("protocol: {learning_rate: .inf}", "line 4, protocol.learning_rate"),
        ("description: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(tmp_path, line, told):
    path = tmp_path / "study.yaml"
    path.write_text(PLAIN + line + "\n")
    assert told in refused(path)


def test_a_bomb_of_aliases_is_refused_and_does_not_go_off(tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path = tmp_path / "study.yaml"
    path.write_text(bomb + PLAIN)
    assert "more than 100000 values" in refused(path)
