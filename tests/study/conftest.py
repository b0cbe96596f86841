"""Studies on the closed-form task, written where a test wants them."""

from functools import partial

import pytest

from tests import program

SIZES = """
preset: quick
protocol: {steps: 24, batch_size: 16, epochs: 1}
device: cpu
"""


@pytest.fixture
def write(tmp_path):
    """`write(text)`: the path of a study with the name `small` and quick sizes, followed by `text`."""

    def make(text, sizes=SIZES):
        path = tmp_path / "study.yaml"
        path.write_text("name: small" + sizes + text)
        return path

    return make


@pytest.fixture
def hpo_bench(tmp_path):
    """`start(WORDS)`: `hpo-bench WORDS` in a process of its own; `call(WORDS)`: its exit code, stdout and stderr."""
    environment = {"COLUMNS": "200"}

    def call(*words):
        done = program.call(*words, cwd=tmp_path, environment=environment)
        return done.returncode, done.stdout, done.stderr

    return partial(program.start, cwd=tmp_path, environment=environment), call
