"""Device, precision and threads."""

from __future__ import annotations

import contextlib
import os
import platform
from contextlib import AbstractContextManager
from typing import Literal

import torch

from hpo_bench.errors import UserError

Precision = Literal["fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda[:n]` as a torch device.

    Raises:
        UserError: CUDA was asked for and is not there, or the name is none of the three.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}", "use --device auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported", "use --device auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is visible to torch", "use --device cpu, or install a CUDA build of torch")
    return device


def limit_threads(processes: int = 1) -> int:
    """Share the cores between `processes` and return the threads of this one; HPO_BENCH_THREADS overrides."""
    chosen = os.environ.get("HPO_BENCH_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(chosen) if chosen else max(1, cores // processes)
    torch.set_num_threads(threads)
    return threads


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a training pass runs."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read afterwards means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_processor() -> str:
    """The processor's name as the operating system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_accelerator() -> str | None:
    """The accelerator's name, or None."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
