"""What loading found suspicious reaches every place where a person looks."""

import dataclasses
import io
import warnings

import pytest
from rich.console import Console

from hpo_bench.cli.display import print_notices
from hpo_bench.cli.listing import show_run
from hpo_bench.compare.comparison import compare
from hpo_bench.errors import Doubt
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task, run

TOLD = "12 of 150 molecules of test are in train too (8.0%)"


def test_a_notice_is_in_the_record_and_where_it_is_read(tmp_path, capsys):
    loaded = dataclasses.replace(load_task("quadratic", {}, "cpu"), notices=(TOLD,))
    sizes = {"steps": 4, "epochs": 1}
    config = configure("equal", "quadratic", out=tmp_path / "runs", preset="quick", retrains=1, protocol=sizes)
    folder = run(config, loaded=loaded)
    assert folder.content["data"]["notices"] == [TOLD]
    print_notices(loaded.notices)
    assert f"note: {TOLD}" in capsys.readouterr().err
    show_run(folder.content, folder.folder)
    assert f"note: {TOLD}" in capsys.readouterr().out
    found = compare(tmp_path / "runs", tmp_path / "out", figures=False)
    assert any(note.endswith(TOLD) for note in found.notes)
    terminal = Console(file=io.StringIO(), width=200)
    terminal.print(found)
    assert TOLD in terminal.file.getvalue()
    for name in ("report.html", "table.md", "table.json"):
        assert "molecules of test are in train too" in (tmp_path / "out" / name).read_text(encoding="utf-8"), name


def test_what_a_search_notices_is_in_the_record_too(tmp_path, capsys, monkeypatch):
    def doubtful(scores, labels):
        warnings.warn("the correlation is undefined; counted as 0", Doubt, stacklevel=2)
        return 0.0

    loaded = load_task("quadratic", {}, "cpu")
    monkeypatch.setattr(loaded.task, "metric", dataclasses.replace(loaded.task.metric, compute=doubtful), raising=False)
    sizes = {"steps": 4, "epochs": 1}
    config = configure("random", "quadratic", out=tmp_path / "runs", preset="quick", retrains=1, protocol=sizes)
    with pytest.warns(Doubt) as told:
        folder = run(config, loaded=loaded)
    assert [str(one.message) for one in told] == ["the correlation is undefined; counted as 0"], "said once"
    assert folder.content["data"]["notices"] == ["the correlation is undefined; counted as 0"]
    show_run(folder.content, folder.folder)
    assert "note: the correlation is undefined; counted as 0" in capsys.readouterr().out


def test_a_worker_s_doubts_reach_the_record(tmp_path, monkeypatch):
    from hpo_bench.search.trials import TrialSearch, whole_trial

    def train(self, problem, number, weights):  # as a worker gives it back: nothing was warned of here
        return dataclasses.replace(whole_trial(problem, weights), note={"doubts": ["seen by a worker"]})

    monkeypatch.setattr(TrialSearch, "train", train)
    sizes = {"steps": 4, "epochs": 1}
    config = configure("random", "quadratic", out=tmp_path, preset="quick", retrains=0, budget="2", protocol=sizes)
    with pytest.warns(Doubt, match="seen by a worker"):
        folder = run(config)
    assert folder.content["data"]["notices"] == ["seen by a worker"]
