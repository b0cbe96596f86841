"""A run of a study in a process of its own, on a machine of a cluster: who gave the order may die."""

import json
import os
import subprocess
import sys
import time

import pytest

from hpo_bench.study.plan import expand
from hpo_bench.study.spec import read_study

ENDLESS = """
preset: quick
protocol: {steps: 10000000, batch_size: 16}
device: cpu
tasks: [quadratic]
methods: [equal]
"""


@pytest.mark.parametrize("at_once", [True, False], ids=["before it has begun", "in the middle"])
def test_it_ends_with_who_gave_the_order_and_leaves_no_folder(write, tmp_path, at_once):
    scratch = tmp_path / "hb-run-here"
    scratch.mkdir()
    (run,) = expand(read_study(write("", sizes=ENDLESS)), scratch / "runs")
    order = {"words": {**run.words, "out": str(scratch / "runs")}, "study": os.getpid(), "scratch": str(scratch)}
    command = [sys.executable, "-m", "hpo_bench.study.one"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=scratch, text=True)
    try:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        place = run.config.folder
        while not at_once and not (place / "bill.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.stdin.close()
        assert process.wait() != 0
        assert not scratch.exists()
    finally:
        process.kill()
        process.wait()
