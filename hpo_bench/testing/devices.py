"""Where contract tests train: on a processor, or where HPO_BENCH_TEST_DEVICE says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hpo_bench.core.device import resolve_device


def device_under_test() -> torch.device:
    """`HPO_BENCH_TEST_DEVICE` (auto, cpu, cuda), by default the processor."""
    return resolve_device(os.environ.get("HPO_BENCH_TEST_DEVICE", "cpu"))


@contextmanager
def irreproducible_refused(device: torch.device) -> Iterator[None]:
    """Inside, torch raises where it knows that an operation is irreproducible; CUDA is told by `resolve_device`."""
    if device.type == "cuda":
        yield
        return
    before, alone = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=alone)
