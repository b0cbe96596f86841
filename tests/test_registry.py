"""Methods and tasks are found by name, and whoever finds none is told why."""

import pytest

from hpo_bench import registry
from hpo_bench.errors import UserError


def test_a_wrong_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"no task named 'quadratik'.*'quadratic'"):
        registry.load(registry.TASKS, "quadratik")


def test_code_that_is_not_installed_is_told(monkeypatch):
    """As on a machine of a cluster that was sent the code alone."""
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    with pytest.raises(UserError, match=r"not installed here.*\n.*pip install"):
        registry.load(registry.TASKS, "quadratic")
