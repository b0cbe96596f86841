"""Ways of adapting: the shipped ones and a stranger's keep one contract; a stranger's needs one file and a name."""

import json
import os
from pathlib import Path

import pytest

from hpo_bench import registry
from hpo_bench.errors import UserError
from hpo_bench.search.implicit import Implicit
from hpo_bench.testing.adaptation_contract import AdaptationContract
from hpo_bench.testing.problems import quick_problem
from tests import program

ROOT = Path(__file__).resolve().parents[2]
POINTS = """
[hpo_bench.adaptations]
lora = strange_ways.lora:Lora
biases = strange_ways.biases:Biases
nowhere = strange_ways.biases:Nowhere
"""
BIASES = '''
"""BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199), with a level II of its own for methods that learn weights."""

from hpo_bench.core.finetuning import FullFineTuning
from hpo_bench.search.implicit_levels import Solved


class Half(Solved):
    """The probe's level on every other row of train."""

    name = "half"

    @staticmethod
    def rows(problem):
        return 0, len(problem.task.train) // 2, len(problem.task.valid)

    def train_batches(self):
        return [(split, rows[::2]) for split, rows in super().train_batches()]


class Biases(FullFineTuning):
    name, summary, level_two = "biases", "biases and a head are trained", "half"

    def blank(self, task, encoder, protocol, seed):
        model = super().blank(task, encoder, protocol, seed)
        for name, parameter in model.encoder.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        return model


class Nowhere(Biases):
    level_two = "nowhere"
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A stranger's package as pip leaves it: modules, and entry points in its dist-info."""
    home = tmp_path_factory.mktemp("stranger")
    files = {
        "strange_ways/__init__.py": "",
        "strange_ways/lora.py": (ROOT / "examples" / "lora.py").read_text(encoding="utf-8"),
        "strange_ways/biases.py": BIASES,
        "strange_ways-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: strange-ways\nVersion: 1\n",
        "strange_ways-1.dist-info/entry_points.txt": POINTS,
    }
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return home


@pytest.fixture
def installed(home, monkeypatch):
    monkeypatch.syspath_prepend(str(home))
    return home


class TestShipped(AdaptationContract):
    @pytest.fixture(params=registry.names(registry.ADAPTATIONS))
    def mode(self, request):
        return request.param


class TestPlugIn(AdaptationContract):
    task, task_options = "digits", {}  # its encoder has layers to put factors beside

    @pytest.fixture(params=["lora", "biases"])
    def mode(self, request, installed):
        if request.param == "lora":
            pytest.importorskip("peft")
        return request.param


def test_only_what_asks_for_a_gradient_is_trained(installed):
    problem = quick_problem("9", task="digits", mode="biases", epochs=2)
    encoder = problem.task.build_model().encoder
    found = registry.load(registry.ADAPTATIONS, "biases")().adapt(
        problem.task, encoder, problem.protocol, 0, problem.meter
    )
    before = dict(encoder.named_parameters())
    moved = {name for name, part in found.model.encoder.named_parameters() if not part.equal(before[name])}
    assert moved
    assert all(name.endswith("bias") for name in moved)


def test_lora_moves_its_factors_alone(installed):
    pytest.importorskip("peft")
    problem = quick_problem("9", task="digits", mode="lora", epochs=2)
    encoder = problem.task.build_model().encoder
    found = registry.load(registry.ADAPTATIONS, "lora")().adapt(
        problem.task, encoder, problem.protocol, 0, problem.meter
    )
    before = dict(encoder.named_parameters())
    kept = {name.replace(".base_layer", ""): part for name, part in found.model.encoder.named_parameters()}
    assert before.keys() < kept.keys()
    assert all(part.equal(before[name]) for name, part in kept.items() if name in before)
    assert any("lora_B" in name and part.any() for name, part in kept.items())


def test_a_level_two_in_the_plug_in_s_own_file_is_found_and_used(installed):
    assert Implicit(warmup=4).level(quick_problem(mode="biases")).name == "half"


def test_a_level_two_that_is_nowhere_is_refused_by_name(installed):
    with pytest.raises(UserError, match="nowhere") as caught:
        Implicit(warmup=4).supports(quick_problem(mode="nowhere"))
    assert "level_two=probe" in caught.value.remedy
    assert Implicit(warmup=4, level_two="probe").supports(quick_problem(mode="nowhere")).ok


def call(home, *words):
    return program.call(*words, cwd=home, environment={"PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])})


def test_a_plug_in_is_listed_and_run_from_the_command_line(home):
    listed = call(home, "list", "--json")
    assert "biases and a head are trained" in json.loads(listed.stdout)["adaptations"]["biases"]
    words = ["run", "--method", "implicit", "--task", "digits", "--mode", "biases", "--set", "steps=30"]
    words += ["--set", "epochs=2", "--retrains", "1", "--budget", "6", "--out", "runs", "--json"]
    done = call(home, *words)
    assert done.returncode == 0, done.stderr
    (folder,) = (home / "runs" / "digits").iterdir()
    record = (folder / "seed-0" / "run.json").read_text()
    assert json.loads(record)["config"]["protocol"]["mode"] == "biases"
    assert call(home, *words).returncode == 0
    assert (folder / "seed-0" / "run.json").read_text() == record, "a finished run is not trained again"
