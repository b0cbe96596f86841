"""The same command on a run that is done: quick, and what a killed process left is cleared away."""

import json
import tempfile
from pathlib import Path

import pytest

from hpo_bench.errors import UserError
from hpo_bench.run.config import configure
from hpo_bench.run.runner import run, vouched

NOTE = "workspace/ray-session"


@pytest.fixture
def done(tmp_path):
    """A finished run on a table of one's own, and that table."""
    table = tmp_path / "mine.csv"
    rows = [f"{'C' * (3 + row // 4)}{'ONSF'[row % 4]},{row % 2}" for row in range(120)]
    table.write_text("\n".join(["smiles,active", *rows, ""]))
    options = {"path": str(table), "smiles": "smiles", "label": ["active"], "kind": "classification", "split": "random"}
    sizes = {"steps": 2, "epochs": 1, "batch_size": 8}
    config = configure(
        "equal", "csv", out=tmp_path / "runs", preset="quick", retrains=1, protocol=sizes, task_options=options
    )
    run(config)
    return config, table


def test_nothing_is_loaded_and_what_a_kill_left_goes(done, monkeypatch):
    config, _ = done
    before = (config.folder / "run.json").read_bytes()
    scratch = Path(tempfile.mkdtemp(prefix="hb-ray-"))
    (scratch / "session_latest").mkdir()
    (config.folder / NOTE).write_text(str(scratch))
    (config.folder / ".bill.json.77.tmp").write_text("{")
    monkeypatch.setattr("hpo_bench.run.runner.load_task", lambda *_: pytest.fail("there is nothing to load"))
    again = run(config)
    assert again.status == "done"
    assert (config.folder / "run.json").read_bytes() == before
    assert not scratch.exists()
    assert not (config.folder / NOTE).exists()
    assert not (config.folder / ".bill.json.77.tmp").exists()


def test_a_table_that_has_changed_is_noticed(done):
    config, table = done
    table.write_text(table.read_text() + "CCCCCCCCCCCCCCCCCCCCCCCCCCCCO,1\n")
    assert not vouched(config)
    with pytest.raises(UserError, match="the file has changed since"):
        run(config)


def test_a_table_that_changed_while_it_was_read_is_not_vouched_for(done):
    config, _ = done
    assert vouched(config)
    record = json.loads((config.folder / "run.json").read_text())
    record["data"]["source"]["sha256"] = "0" * 64  # what was read is not what `files` found a moment later
    (config.folder / "run.json").write_text(json.dumps(record))
    assert not vouched(config)
