"""What loading found suspicious reaches every place where a person looks."""

import dataclasses
import io

from rich.console import Console

from hpo_bench.cli.display import print_notices
from hpo_bench.cli.listing import show_run
from hpo_bench.compare.comparison import compare
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
