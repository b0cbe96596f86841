"""The library's examples run, each as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["own_loop.py"], "'product'"),
        (["simsiam.py"], "derivatives by jvp"),
        (["huggingface.py"], "derivatives by jvp"),
        (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "data_parallel.py"], "rank 1"),
    ],
    ids=["own_loop", "simsiam", "huggingface", "data_parallel"],
)
def test_example(command, told):
    if "huggingface.py" in command:
        pytest.importorskip("transformers")
    command = [str(EXAMPLES / part) if part.endswith(".py") else part for part in command]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
