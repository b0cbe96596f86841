"""Methods and tasks are found by name, and whoever finds none is told why."""

import os

import pytest

from hpo_bench import registry
from hpo_bench.errors import UserError


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
