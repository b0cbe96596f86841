"""The command that makes a recorded run once more."""

import shlex
from pathlib import Path

import pytest

from hpo_bench.run.rerun import USUAL, out_of, rerun

CONTENT = {
    "method": "tpe",
    "task": "bace",
    "seed": 3,
    "config": {
        "preset": "standard",
        "budget": {"trials": None, "step_equivalents": 1234567.0, "seconds": 0.5},
        "retrains": 1,
        "device": "cpu",
        "protocol": {"steps": 200},
        "method_options": {},
        "task_options": {},
    },
}


def test_a_budget_keeps_all_its_digits():
    words = shlex.split(rerun(CONTENT))
    assert words[words.index("--budget") + 1] == "1234567se,0.5s"
    assert "--out" not in words


@pytest.mark.parametrize(
    ("folder", "root", "out"),
    [
        ("bace/tpe/seed-3", None, None),
        ("somewhere/bace/tpe/seed-3", None, "somewhere"),
        ("somewhere/bace/tpe/seed-3", USUAL, None),
        ("somewhere/bace@noise/tapweight@cg/seed-3", None, "somewhere@noise@cg"),
        ("/data/bace/tapweight@cg/seed-3", USUAL, "runs@cg"),
        ("bace/tapweight@cg/seed-3", None, "runs@cg"),
    ],
)
def test_where_a_run_is_made_again(folder, root, out):
    """Where it was; variants, whose labels `run` does not know, each in a place of their own."""
    assert out_of(Path(folder), root) == (None if out is None else Path(out))


def test_the_place_is_named():
    assert rerun(CONTENT, Path("runs@cg")).endswith("--out runs@cg")
