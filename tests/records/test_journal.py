"""Lines as they happen, torn lines dropped, the bill carried on."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_bench.core.cost import Cost
from hpo_bench.core.meter import CostMeter
from hpo_bench.errors import UserError
from hpo_bench.records import journal as module
from hpo_bench.records.files import append_line, drop_torn_line, is_torn, read_lines
from hpo_bench.records.journal import Journal, Progress

BILL = Cost(step_equivalents=3).to_json()
LINES = {
    "trials.jsonl": {"number": 0, "state": "done", "weights": [0.5, 0.5], "value": 0.7, "cost": BILL, "spent": BILL},
    "trajectory.jsonl": {"step": 0, "weights": [0.5, 0.5]},
    "tests.jsonl": {"index": 0, "seed": 1, "valid": 0.5, "test": None, "cost": BILL},
}
COUNTED = {"trials.jsonl": "number", "trajectory.jsonl": "step", "tests.jsonl": "index"}


@pytest.fixture
def meter():
    return CostMeter(10, torch.device("cpu"))


def test_what_is_recorded_is_read_back(tmp_path, meter):
    journal = Journal.open(tmp_path, meter)
    meter.passes(10, forward=1, backward=1)
    journal.record_trial(0, [0.5, 0.5], 0.75, Cost(step_equivalents=3), note={"u": [0.1, 0.2]})
    meter.passes(10, forward=1, backward=1)
    journal.record_trial(1, [1.0, 0.0], None, Cost(step_equivalents=3), state="diverged", schedule=[[0, [1.0, 0.0]]])
    journal.record_weights(5, [0.4, 0.6], losses=[1.0, 2.0])
    first, second = Journal.open(tmp_path, CostMeter(10, torch.device("cpu"))).trials
    assert (first.number, first.state, first.weights, first.value, first.note) == (
        0,
        "done",
        [0.5, 0.5],
        0.75,
        {"u": [0.1, 0.2]},
    )
    assert (second.state, second.value, second.schedule) == ("diverged", None, [[0, [1.0, 0.0]]])
    assert [t.spent["step_equivalents"] for t in (first, second)] == [3, 6]
    assert journal.trajectory == [{"step": 5, "weights": [0.4, 0.6], "losses": [1.0, 2.0]}]


def test_the_bill_goes_on_in_a_new_process(tmp_path, meter):
    journal = Journal.open(tmp_path, meter)
    meter.passes(20, forward=1)
    with meter.phase("evaluation"):
        journal.save_bill()
    spent = json.loads((tmp_path / "bill.json").read_text())
    later = CostMeter(10, torch.device("cpu"))
    resumed = Journal.open(tmp_path, later)
    assert later.total == Cost.from_json(spent)
    later.passes(10, forward=1)
    assert resumed.save_bill().step_equivalents == 3


def test_making_a_journal_leaves_disk_and_meter_alone_and_opening_it_does_not(tmp_path, meter):
    (tmp_path / "bill.json").write_text(json.dumps(Cost(step_equivalents=3).to_json()))
    journal = Journal(tmp_path, meter)
    assert (meter.total, meter.heartbeat, journal.trials) == (Cost(), None, [])
    assert [path.name for path in tmp_path.iterdir()] == ["bill.json"]
    journal = Journal.open(tmp_path, meter)
    assert (meter.total.step_equivalents, journal.workspace.is_dir()) == (3, True)
    assert meter.heartbeat is not None


def test_passes_keep_the_bill_on_disk_up_to_date(tmp_path, meter, monkeypatch):
    """With no interval between two copies, every pass is on disk when it is done."""
    monkeypatch.setattr(module, "BILL_INTERVAL", -1.0)
    Journal.open(tmp_path, meter)
    for number in range(1, 4):
        meter.passes(10, forward=1)
        assert json.loads((tmp_path / "bill.json").read_text())["step_equivalents"] == number


@pytest.mark.parametrize("name", ["trials.jsonl", "trajectory.jsonl", "tests.jsonl"])
@pytest.mark.parametrize("torn", ["", "{", '{"number": 3, "val'])
def test_a_last_line_cut_short_is_dropped_and_the_next_one_is_whole(tmp_path, meter, name, torn):
    path = tmp_path / name
    first, second = (json.dumps(LINES[name] | {COUNTED[name]: number}) + "\n" for number in (0, 1))
    path.write_text(first + torn)
    Journal.open(tmp_path, meter)
    append_line(path, json.loads(second))
    assert path.read_text() == first + second


def test_a_half_bill_is_told_with_a_way_on(tmp_path, meter):
    (tmp_path / "bill.json").write_text('{"step_eq')
    with pytest.raises(UserError, match=r"bill\.json cannot be read: .*\nremove it: the bill then goes on"):
        Journal.open(tmp_path, meter)
    (tmp_path / "bill.json").unlink()
    Journal.open(tmp_path, meter)


def test_a_file_of_one_torn_line_becomes_empty(tmp_path, meter):
    (tmp_path / "trials.jsonl").write_text('{"numb')
    assert Journal.open(tmp_path, meter).trials == []
    assert (tmp_path / "trials.jsonl").read_bytes() == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False)), max_size=4), st.integers(0, 200))
def test_a_file_cut_anywhere_loses_its_torn_line_alone(tmp_path, lines, kept):
    path = tmp_path / "trajectory.jsonl"
    path.unlink(missing_ok=True)
    for line in lines:
        append_line(path, line, durable=False)
    content = path.read_bytes() if lines else b""
    path.write_bytes(content[:kept])
    assert read_lines(path) == lines[: content[:kept].count(b"\n")]
    drop_torn_line(path)
    assert path.read_bytes() == content[: content[:kept].rfind(b"\n") + 1]


@pytest.mark.parametrize(("end", "torn"), [(b"\n", False), (b"}", True)])
def test_of_a_file_larger_than_memory_the_end_alone_is_read(tmp_path, end, torn):
    path = tmp_path / "trials.jsonl"
    with path.open("wb") as file:
        file.seek(2**38)  # sparse: it takes no room on the disk
        file.write(end)
    assert is_torn(path) is torn
    path.write_bytes(b"")
    assert not is_torn(path)
    assert not is_torn(tmp_path / "none.jsonl")


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "trials.jsonl").write_text('{"number": 0}\n{"numb\n{"number": 2}\n')
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2"):
        read_lines(tmp_path / "trials.jsonl")


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_bill_is_named(tmp_path, meter, content):
    (tmp_path / "bill.json").write_text(content)
    with pytest.raises(UserError, match=r"bill\.json"):
        Journal.open(tmp_path, meter)


def test_lines_that_a_resumed_run_writes_again_are_dropped(tmp_path, meter):
    journal = Journal.open(tmp_path, meter)
    for step in range(1, 6):
        journal.record_weights(step, [1.0])
    journal.rewind(3)
    assert [line["step"] for line in journal.trajectory] == [1, 2, 3]
    journal.rewind(0)
    assert journal.trajectory == []


def test_progress_reaches_the_observer(tmp_path, meter):
    seen = []
    Journal.open(tmp_path, meter, seen.append).report(Progress("here", 0.5))
    Journal.open(tmp_path, meter).report(Progress("nobody looks", 0.5))
    assert [progress.message for progress in seen] == ["here"]
