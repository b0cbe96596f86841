"""Studies on the closed-form task, written where a test wants them."""

import os
import subprocess
import sys

import pytest

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


def start(*words, **options):
    """`hpo-bench WORDS` in a process of its own."""
    environment = {**os.environ, "HPO_BENCH_THREADS": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "hpo_bench", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes, **options)


def call(*words):
    """Exit code, stdout and stderr of `hpo-bench WORDS`."""
    process = start(*words)
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


@pytest.fixture
def hpo_bench():
    """`start` and `call`."""
    return start, call
