"""The examples of CONTRIBUTING.md, installed as a stranger's package and put through the shipped contract tests."""

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.program import Program, hpo_bench, result_of

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
ONLINE_TEST = """
import pytest

from hpo_bench.testing.method_contract import MethodContract
from my_package.stubborn import Stubborn


class TestStubborn(MethodContract):
    @pytest.fixture
    def method(self):
        return Stubborn()
"""
POINTS = """
[hpo_bench.methods]
corners = my_package.corners:Corners
stubborn = my_package.stubborn:Stubborn

[hpo_bench.tasks]
wine = my_package.wine:load
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files that the examples name, and their entry points as an installed package has them."""
    home = tmp_path_factory.mktemp("stranger")
    for name, code in [*BLOCKS, ("tests/test_stubborn.py", ONLINE_TEST), ("my_package/__init__.py", "")]:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    info = home / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    return home


def call(package, work, *words):
    environment = {"PYTHONPATH": os.pathsep.join([str(package), str(ROOT)])}
    return result_of(Program(work, *words, cwd=package, environment=environment))


def run_tests(*words):
    """`pytest WORDS`."""
    sys.exit(pytest.main([*words]))


def test_the_template_is_what_the_page_says():
    """examples/plugin: the first method of the page as a package to copy."""
    template, blocks = ROOT / "examples" / "plugin", dict(BLOCKS)
    for name in ("my_package/corners.py", "tests/test_corners.py"):
        assert (template / name).read_text(encoding="utf-8") == blocks[name]
    project = tomllib.loads((template / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"hpo_bench.methods": {"corners": "my_package.corners:Corners"}}


def test_the_examples_are_all_there():
    assert {name for name, _ in BLOCKS} >= {
        "my_package/corners.py",
        "my_package/stubborn.py",
        "my_package/wine.py",
        "tests/test_corners.py",
        "tests/test_wine.py",
    }


def test_the_examples_keep_their_contracts(package):
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests", "-k", "not kill and not fresh_process"]
    done = call(package, run_tests, *words)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 30


@pytest.mark.parametrize("method", ["corners", "stubborn"])
def test_the_examples_run_together(package, method):
    words = ["--set", "steps=10", "--set", "mode=probe", "--budget", "3", "--retrains", "1", "--out", "runs"]
    done = call(package, hpo_bench, "run", "--method", method, "--task", "wine", "--device", "cpu", *words)
    assert done.returncode == 0, done.stderr
    assert (package / "runs" / "wine" / method / "seed-0" / "run.json").exists()
