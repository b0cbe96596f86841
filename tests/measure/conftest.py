"""The verbs that measure, by their real entry point, on the closed-form task."""

import sys

import pytest

from hpo_bench.__main__ import main

SIZES = ["--preset", "quick", "--set", "steps=8", "--set", "batch_size=16", "--mode", "probe", "--device", "cpu"]


@pytest.fixture
def no_figures(monkeypatch):
    """For tests that look at numbers alone: drawing takes a second."""
    for module in ("landscape", "fidelity"):
        monkeypatch.setattr(f"hpo_bench.measure.{module}.save", lambda chart, path: [])


@pytest.fixture
def invoke(monkeypatch, capsys, tmp_path):
    """`invoke("landscape", …)`: exit code, stdout and stderr, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def invoked(verb, *words):
        monkeypatch.setattr(sys, "argv", ["hpo-bench", verb, "--task", "quadratic", *SIZES, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return invoked
