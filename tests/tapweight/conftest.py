"""Keeps the errors that the tests measure, for docs/log-hypergradients.md (`python -m tests.tapweight.table`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for tapweight_problems: pytest imports by path here

_MEASURED: list[dict[str, object]] = []


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def relative_error() -> Callable[..., float]:
    """`relative_error(solver, problem, check, got, expected)`: ‖got − expected‖ / ‖expected‖, kept for the table."""

    def measure(solver: str, problem: str, check: str, got, expected) -> float:
        got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
        error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
        _MEASURED.append({"solver": solver, "problem": problem, "check": check, "error": error})
        return error

    return measure


def pytest_sessionfinish() -> None:
    target = os.environ.get("TAPWEIGHT_ERRORS")
    if target:
        with open(target, "w") as handle:
            json.dump(_MEASURED, handle, indent=1)
