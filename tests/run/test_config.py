"""A run's configuration: what a preset means for a task, and a method that is made once."""

import json
import shlex

import pytest
import torch

from hpo_bench import registry
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError
from hpo_bench.run import config as module
from hpo_bench.run.config import configure
from hpo_bench.run.presets import PRESETS
from hpo_bench.run.rerun import rerun
from hpo_bench.run.runner import run
from hpo_bench.tasks.presets import TaskPreset, preset_of, with_presets

SIZES = {"steps": 4, "epochs": 1, "patience": 1}


@pytest.fixture
def own_presets(monkeypatch):
    """A task whose loader has presets of its own and is told nothing of them; what it was told."""
    told = []
    quadratic = registry.load(registry.TASKS, "quadratic")

    def check(options):
        if options.get("rows", 0) < 100:
            raise UserError("a hundred rows are needed at full length")

    @with_presets(
        quick=TaskPreset({"batch_size": 24, "steps": 40}, {"rows": 50}),
        paper=TaskPreset(check=check),
    )
    def load(*, device: torch.device, rows: int = 10):
        told.append({"rows": rows})
        return quadratic(device=device)

    found = registry.load
    monkeypatch.setattr(
        registry, "load", lambda group, name, *rest: load if name == "own" else found(group, name, *rest)
    )
    return told


def test_a_tasks_preset_changes_protocol_and_options_and_gives_way_to_what_is_said(own_presets):
    config = configure("equal", "own", out=None, preset="quick")
    general = Protocol.parsed(PRESETS["quick"].protocol)
    assert (config.protocol.batch_size, config.protocol.epochs) == (24, general.epochs)
    assert config.task_options == {"rows": 50}
    config = configure(
        "equal", "own", out=None, preset="quick", protocol={"batch_size": 8}, task_options={"rows": "20"}
    )
    assert (config.protocol.batch_size, config.task_options) == (8, {"rows": 20})
    assert config.preset_protocol["batch_size"] == 24


def test_a_preset_may_ask_for_options(own_presets):
    with pytest.raises(UserError, match="at full length"):
        configure("equal", "own", out=None, preset="paper", task_options={"rows": "99"})
    with pytest.raises(UserError, match="no base of the paper's size"):
        configure("equal", "bace", out=None, preset="paper")
    for options in ({"base": "mine.safetensors"}, {"base": "none"}, {"encoder": "imagemol"}):
        assert configure("equal", "bace", out=None, preset="paper", task_options=options).task_options == options


def test_a_file_in_place_of_a_tasks_name_is_told_where_files_go(tmp_path, monkeypatch):
    (tmp_path / "my data.csv").write_text("smiles,active\nCCO,1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is a file") as caught:
        configure("equal", "my data.csv", out=tmp_path)
    assert "--task csv --path 'my data.csv'" in caught.value.remedy  # as a shell takes it


@pytest.mark.parametrize("name", registry.names(registry.TASKS))
def test_every_task_of_ours_is_told_options_and_no_preset(name):
    for preset in PRESETS:
        own = preset_of(registry.load(registry.TASKS, name), preset)
        given = {"base": "mine.safetensors"} if own.check else {}
        assert configure("equal", name, out=None, preset=preset, task_options=given).task_options == own.options | given


def test_a_run_records_what_the_preset_stood_for_and_is_made_again_by_its_command(own_presets, tmp_path):
    config = configure(
        "equal", "own", out=tmp_path, preset="quick", retrains=0, protocol={**SIZES, "batch_size": 128}, budget="1"
    )
    record = json.loads((run(config).folder / "run.json").read_text())
    assert own_presets == [{"rows": 50}]
    assert record["config"]["task_options"] == {"rows": 50}
    words = shlex.split(rerun(record))
    said = dict(words[at + 1].split("=") for at, word in enumerate(words) if word == "--set")
    assert said == {"batch_size": "128", "steps": "4", "epochs": "1", "patience": "1"}, "128 is the general preset's"
    again = configure("equal", "own", out=tmp_path, preset="quick", protocol=said, retrains=0, budget="1")
    assert again.to_json() == config.to_json()


def test_a_method_is_made_once_for_a_run(monkeypatch, tmp_path):
    made = []
    make = module.make_method
    monkeypatch.setattr(module, "make_method", lambda *words: made.append(words) or make(*words))
    config = configure(
        "random", "quadratic", out=tmp_path, retrains=0, budget="1", protocol=SIZES, method_options={"workers": "1"}
    )
    run(config)
    assert made == [("random", {"workers": "1"})]
    assert config.method_options == {"workers": 1}
    assert config.searcher == make("random", {"workers": 1})
