"""Methods and tasks are found by name, and whoever finds none is told why."""

import os
import re

import pytest

from hpo_bench import registry
from hpo_bench.cli.listing import listing
from hpo_bench.errors import UserError
from hpo_bench.run.config import make_method
from hpo_bench.run.runner import load_task
from hpo_bench.search.base import ObjectiveWeightSearch


def test_a_wrong_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"no task named 'quadratik'.*'quadratic'"):
        registry.load(registry.TASKS, "quadratik")


def test_code_that_is_not_installed_is_told(monkeypatch):
    """As on a machine of a cluster that was sent the code alone."""
    monkeypatch.setattr(registry, "points", lambda group: {})
    with pytest.raises(UserError, match=r"not installed here.*\n.*pip install"):
        registry.load(registry.TASKS, "quadratic")


def test_a_package_that_comes_later_is_found(tmp_path, monkeypatch):
    """Entry points are kept, and read again where something was installed meanwhile."""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "later" not in registry.names(registry.TASKS)
    info = tmp_path / "later-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hpo_bench.tasks]\nlater = hpo_bench.tasks.quadratic:load\n")
    os.utime(tmp_path, (1, 1))  # another moment, however coarse the clock of the file system is
    assert "later" in registry.names(registry.TASKS)


def plug_in(folder, group, **points):
    """A package that gives entry points of the module `strange`."""
    info = folder / "strange-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


def test_a_name_that_two_packages_give_is_no_ones(tmp_path, monkeypatch):
    """Before, one of them stood for the other without a word."""
    monkeypatch.syspath_prepend(str(tmp_path))
    plug_in(tmp_path, registry.METHODS, equal="hpo_bench.search.random:RandomSearch")
    with pytest.raises(UserError, match=r"method 'equal' is given twice: .*search\.(equal|random):.* and .*search\."):
        registry.load(registry.METHODS, "equal", ObjectiveWeightSearch)
    assert registry.load(registry.METHODS, "grid", ObjectiveWeightSearch).name == "grid"
    assert "given twice" in listing()["methods"]["equal"]["summary"]


SOURCES = {
    "syntax": ("def x(:", r"SyntaxError: invalid syntax.*strange_syntax\.py, line 1"),
    "raises": ("\nraise RuntimeError('no licence')", r"RuntimeError: no licence .*strange_raises\.py, line 2"),
    "function": (
        "def Method(): ...",
        r"method bad \(strange_function:Method\) is no subclass of ObjectiveWeightSearch",
    ),
    "unfinished": (
        "from hpo_bench.search.trials import TrialSearch\nclass Method(TrialSearch): name = 'bad'",
        r"method bad \(strange_unfinished:Method\) does not say propose",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_plug_in_that_is_none_is_a_sentence_and_takes_nothing_else_with_it(source, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    text, told = SOURCES[source]
    (tmp_path / f"strange_{source}.py").write_text(text)
    plug_in(tmp_path, registry.METHODS, bad=f"strange_{source}:Method")
    with pytest.raises(UserError, match=told):
        make_method("bad", {})
    found = listing()["methods"]
    assert re.search(told, found["bad"]["summary"])
    assert found["equal"]["options"]


def test_a_loader_that_gives_no_task_is_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "strange_task.py").write_text("def load(*, device): return None")
    plug_in(tmp_path, registry.TASKS, bad="strange_task:load")
    with pytest.raises(UserError, match="the loader of the task bad gave a NoneType"):
        load_task("bad", {}, "cpu")
