"""`landscape` by its real entry point, on the closed-form task."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def call(invoke):
    return lambda *words: invoke("landscape", *words)


def test_it_measures_every_point_with_every_seed_and_never_test(call):
    code, out, err = call("--seeds", 2)
    assert code == 0, err
    assert out.startswith("The choice of weights explains ")
    assert "100% of the budget" in err
    table = pd.read_csv("landscape/quadratic/landscape.csv")
    weights = table[[name for name in table if name.startswith("weight_")]].to_numpy()
    assert weights[0] == pytest.approx([1 / 3] * 3, abs=1e-5)
    expected = {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)}
    assert set(map(tuple, weights[1:].tolist())) == expected
    for seed in (0, 1):
        folder = Path(f"landscape/quadratic/grid/seed-{seed}")
        record = json.loads((folder / "run.json").read_text())
        assert record["status"] == "done"
        assert record["result"]["retrained"] == []
        assert not (folder / "tests.jsonl").exists()
        trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
        own = {tuple(np.round(trial["weights"], 5)): trial["value"] for trial in trials}
        told = [own[tuple(np.round(row, 5))] for row in weights]
        assert table[f"valid_seed_{seed}"].tolist() == pytest.approx(told, rel=1e-5)
    assert Path("landscape/quadratic/landscape.png").stat().st_size > 1000
    assert Path("landscape/quadratic/landscape.svg").exists()


@pytest.mark.usefixtures("no_figures")
def test_nothing_is_trained_twice_and_more_seeds_go_on(call):
    assert call("--seeds", 1)[0] == 0
    trials = Path("landscape/quadratic/grid/seed-0/trials.jsonl")
    before = trials.read_bytes(), trials.stat().st_mtime_ns
    code, out, _ = call("--seeds", 2, "--json")
    assert code == 0
    assert (trials.read_bytes(), trials.stat().st_mtime_ns) == before
    found = json.loads(out)
    assert found["seeds"] == [0, 1]
    assert found["variance"]["weightings"] == 7
    assert found["points"][0]["minus_centre"] is None
    assert call("--seeds", 2, "--json")[1] == out


@pytest.mark.usefixtures("no_figures")
def test_a_record_that_lost_trials_is_no_landscape(call):
    """A copy that was cut short. The first point would have been taken for the centre."""
    assert call("--seeds", 1)[0] == 0
    trials = Path("landscape/quadratic/grid/seed-0/trials.jsonl")
    whole = trials.read_bytes()
    for kept in (whole[:-20], b""):
        trials.write_bytes(kept)
        code, _, err = call("--seeds", 1)
        assert code == 2
        assert f"{trials.parent} lacks {1 if kept else 7} of its trials" in err


@pytest.mark.usefixtures("no_figures")
def test_another_configuration_is_not_mixed_in(call):
    assert call("--seeds", 1)[0] == 0
    code, _, err = call("--seeds", 1, "--set", "steps=9")
    assert code == 2
    assert "another configuration" in err


@pytest.mark.parametrize("verb", ["landscape", "fidelity", "transfer"])
@pytest.mark.usefixtures("no_figures")
def test_a_result_that_cannot_be_written_is_a_sentence(invoke, verb):
    """All is trained, on record and printed by then."""
    file = Path(f"{verb}/quadratic/{'landscape.csv' if verb == 'landscape' else f'{verb}.json'}")
    (file / "in the way").mkdir(parents=True)
    code, out, err = invoke(verb, "--seeds", 2, "--json", *(["-e", "equal"] if verb == "fidelity" else []))
    assert code == 2
    assert json.loads(out)["seeds"] == [0, 1]
    assert f"cannot write {file}: Is a directory\nchoose a folder that you can write to with --out" in err
