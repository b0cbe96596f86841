"""Keeps the errors that the tests measure, so that docs/hypergradients.md can show them (python -m tests.tapweight.table)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

_MEASURED: list[dict[str, object]] = []


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def relative_error() -> Callable[..., float]:
    """`relative_error(solver, problem, check, got, expected)`: ‖got − expected‖ / ‖expected‖, remembered for the table."""

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
