"""Where contract tests train: on a processor, or where HPO_BENCH_TEST_DEVICE says."""

from __future__ import annotations

import os

import torch

from hpo_bench.core.device import resolve_device


def device_under_test() -> torch.device:
    """`HPO_BENCH_TEST_DEVICE` (auto, cpu, cuda), by default the processor."""
    return resolve_device(os.environ.get("HPO_BENCH_TEST_DEVICE", "cpu"))
