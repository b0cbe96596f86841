"""`fidelity` by its real entry point, on the closed-form task."""

import json
import sys
from pathlib import Path

import pytest

from hpo_bench.__main__ import main

SIZES = ["--preset", "quick", "--set", "steps=20", "--set", "batch_size=16", "--set", "learning_rate=0.01"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def invoke(*words):
        words = ["hpo-bench", "fidelity", "--task", "quadratic", *SIZES, "--mode", "probe", "--device", "cpu", *words]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return invoke


def test_estimators_stand_beside_their_ceiling_and_test_is_not_read(call):
    words = ["--seeds", "2", "-e", "tapweight", "-e", "implicit:warmup=4,solver=identity", "--json"]
    code, out, err = call(*words)
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads(Path("fidelity/quadratic/fidelity.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["tapweight", "implicit:warmup=4,solver=identity"]
    assert found["rows"][0]["cosine"]["value"] > 0.9
    assert found["ceiling"]["value"] > 0.9
    assert found["rows"][0]["trials"]["value"] < 2.5
    assert not list(Path("fidelity").rglob("tests.jsonl"))
    assert Path("fidelity/quadratic/fidelity.png").stat().st_size > 1000
    seeds = {path.name for path in Path("fidelity/quadratic/tapweight").iterdir()}
    assert seeds == {"seed-2", "seed-3"}  # none of the landscape's
    before = {path: path.stat().st_mtime_ns for path in Path("fidelity").rglob("trials.jsonl")}
    assert call(*words)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("fidelity").rglob("trials.jsonl")}


@pytest.mark.parametrize("text", ["nobody", "tapweight:reach", "tapweight:colour=red", ":spend=1"])
def test_what_is_no_estimator_is_told(call, text):
    code, _, err = call("-e", text)
    assert code == 2
    assert err
