"""`fidelity` by its real entry point, on the closed-form task."""

import json
from pathlib import Path

import pytest

LONGER = ["--set", "steps=20", "--set", "learning_rate=0.01"]


@pytest.fixture
def call(invoke):
    return lambda *words, verb="fidelity": invoke(verb, *LONGER, *words)


def test_estimators_stand_beside_their_ceiling_and_test_is_not_read(call):
    words = ["--seeds", "2", "-e", "tapweight", "-e", "implicit:warmup=4,solver=identity", "--json"]
    code, out, err = call(*words)
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads(Path("fidelity/quadratic/fidelity.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["tapweight", "implicit:warmup=4,solver=identity"]
    assert found["rows"][0]["cosine"]["value"] > 0.9
    assert found["ceiling"]["cosine"]["value"] > 0.9
    assert found["rows"][0]["trials"]["value"] < 2.5
    assert not list(Path("fidelity").rglob("tests.jsonl"))
    assert Path("fidelity/quadratic/fidelity.png").stat().st_size > 1000
    seeds = {path.name for path in Path("fidelity/quadratic/tapweight").iterdir()}
    assert seeds == {"seed-2", "seed-3"}  # none of the landscape's
    before = {path: path.stat().st_mtime_ns for path in Path("fidelity").rglob("trials.jsonl")}
    assert call(*words)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("fidelity").rglob("trials.jsonl")}


@pytest.mark.usefixtures("no_figures")
def test_a_landscape_that_was_measured_is_not_measured_again(call):
    code, out, err = call("--seeds", "2", "--json", "--out", "before", verb="landscape")
    assert code == 0, err
    Path("known.json").write_text(out)
    Path("another.json").write_text(out.replace('"quadratic"', '"esol"'))
    code, _, err = call("--landscape", "another.json", "-e", "tapweight")
    assert (code, "another.json is a landscape of esol, not of quadratic" in err) == (2, True), err
    code, out, err = call("--seeds", "2", "--landscape", "known.json", "-e", "tapweight", "--json")
    assert code == 0, err
    assert not list(Path("fidelity").rglob("grid"))
    found = json.loads(out)
    assert found["seeds"] == [0, 1]
    assert {path.name for path in Path("fidelity/quadratic/tapweight").iterdir()} == {"seed-2", "seed-3"}
    whole = json.loads(call("--seeds", "2", "-e", "tapweight", "--json")[1])
    assert found["effects"] == pytest.approx(whole["effects"], rel=1e-6)
    assert found["ceiling"]["cosine"]["value"] == pytest.approx(whole["ceiling"]["cosine"]["value"], rel=1e-6)


@pytest.mark.usefixtures("no_figures")
def test_a_landscape_of_another_protocol_base_or_data_is_refused(call):
    code, out, err = call("--seeds", "1", "--json", "--out", "before", verb="landscape")
    assert code == 0, err
    known = Path("known.json")
    known.write_text(out)
    words = ["--seeds", "1", "--landscape", known, "-e", "tapweight", "--json"]
    code, _, err = call(*words, "--set", "steps=9", "--mode", "full")
    assert code == 2
    assert "protocol.mode is 'probe' there, 'full' now; protocol.steps is 20 there, 9 now" in err
    measured = json.loads(out)["measured_with"]
    for changed, told in [
        ({"base_id": "abc"}, "started from another base"),
        ({"content": {**measured["content"], "table": "abc"}}, "its table held something else"),
        ({"task_options": {"objectives": ["a"]}}, "task_options.objectives is ['a'] there, None now"),
    ]:
        known.write_text(json.dumps({**json.loads(out), "measured_with": {**measured, **changed}}))
        code, _, err = call(*words)
        assert (code, told in err) == (2, True), err
    assert not Path("fidelity").exists()
    known.write_text(json.dumps({**json.loads(out), "measured_with": None}))
    with pytest.warns(UserWarning, match=r"known\.json does not say with which protocol, base and data"):
        assert call(*words)[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{}",
        b'{"seeds": [0], "points": []}',
        b'{"seeds": [0], "points": [{"weight_a": 1}]}',
        bytes(range(256)),
    ],
)
def test_what_is_no_landscape_is_told(call, content):
    if content is not None:
        Path("known.json").write_bytes(content)
    code, _, err = call("--landscape", "known.json", "-e", "tapweight")
    assert code == 2
    assert "known.json" in err
    assert "name what `landscape --json` printed" in err
    assert len(err) < 300, "what is in the file is not told"


def test_workers_that_would_have_nothing_to_do_are_refused(call):
    code, _, err = call("--landscape", "known.json", "--workers", 2)
    assert code == 2
    assert "--workers cannot go with --landscape" in err
    assert "-e METHOD:workers=2" in err


@pytest.mark.parametrize("text", ["nobody", "tapweight:reach", "tapweight:colour=red", ":spend=1"])
def test_what_is_no_estimator_is_told(call, text):
    code, _, err = call("-e", text)
    assert code == 2
    assert err


def test_an_estimator_that_cannot_solve_the_task_is_told_before_the_landscape_is_measured(call):
    code, _, err = call("-e", "equal", "-e", "pbt:intervals=500")
    assert code == 2
    assert "pbt cannot solve quadratic" in err
    assert not Path("fidelity/quadratic/grid").exists()
