"""Device, precision and threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from hpo_bench.core.cores import share_of_cores
from hpo_bench.core.protocol import Precision
from hpo_bench.errors import UserError


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda[:n]` as a torch device; CUDA is told to be reproducible.

    Raises:
        UserError: CUDA was asked for and is not there, or the name is none of the three.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}", "use --device auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported", "use --device auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is visible to torch", "use --device cpu, or install a CUDA build of torch")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there is no {name}: torch sees {torch.cuda.device_count()} CUDA devices", "use --device cuda")
    if device.type == "cuda":
        _be_reproducible()
    return device


def _be_reproducible() -> None:
    """The same seed gives the same bits on the same card: attention and convolutions without additions in any order.

    Molecules need none of it, they sum in order themselves. Max pooling warns although it is reproducible in the layout
    that is used here; whatever else warns is not.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # it looks for bugs, and costs a kernel a tensor
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_cudnn_sdp(False)  # its backward pass adds up in any order (seen on an H200)
    warnings.filterwarnings("ignore", "max_pool2d_with_indices_backward_cuda")


def prepare_process(processes: int = 1) -> int:
    """Make this process fit for training: the cores are shared between `processes`, memory is kept.

    Returns the number of threads that torch uses here; HPO_BENCH_THREADS overrides it.
    """
    threads = share_of_cores(processes)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    return threads


def _keep_freed_memory() -> None:
    """Tell glibc's malloc to keep what torch frees, instead of giving it back to the kernel and faulting it in anew.

    A training step allocates and frees the same large tensors over and over: this takes away about a sixth of its time
    on a CPU. Without glibc it does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raise UserError unless the device has the precision."""
    if precision == "tf32" and device.type != "cuda":
        raise UserError("the precision tf32 needs a CUDA device", "use --precision fp32 or bf16 on a CPU")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the forward part of a training pass runs; a weight is cast once in it."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def products(precision: Precision) -> Iterator[None]:
    """The context in which a training pass runs, forward and backward: tf32 is a way to multiply float32 matrices.

    Whatever torch was told before holds again afterwards, so hypergradients and scores are of full precision.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Numbers that the host makes at every step, as float32 on the device, without waiting for it.

    From memory that the system may page out a copy to an accelerator holds the host up until the device gets there.
    """
    tensor = torch.from_numpy(values.astype(np.float32))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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
