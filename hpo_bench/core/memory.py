"""A device whose memory does not suffice: told in a sentence, and passes that make do with less."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from hpo_bench.errors import Doubt, UserError
from hpo_bench.tasks.base import Task

Found = TypeVar("Found")
# What torch says where it does not raise its own kind of error: the processor's allocator, and CUDA's libraries.
_SAID = ("DefaultCPUAllocator: can't allocate", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def lacks_memory(error: BaseException) -> bool:
    """Is this an error of torch's because memory does not suffice?"""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _SAID)


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """Inside, an accelerator or a processor that runs out of memory is told in a sentence.

    Raises:
        UserError: it did.
    """
    try:
        yield
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        raise out_of_memory(error) from error


def out_of_memory(error: BaseException) -> UserError:
    """What to tell of torch's error: what was asked for, and what there is."""
    said = str(error)
    wanted = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", said)
    there = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", said)
    parts = [f"{wanted[1]} more were needed" if wanted else "", f"{there[2]} of {there[1]} were free" if there else ""]
    detail = ", ".join(part for part in parts if part) or said.strip().partition("\n")[0]
    return UserError(
        f"the device's memory does not suffice: {detail}",
        "let batches pass in parts (--set micro_batch_size=N, a fraction of batch_size and adapt_batch_size), or give "
        "smaller ones, --precision bf16, a smaller model, or fewer --workers side by side on the device",
    )


def by_parts(task: Task, index: Tensor, run: Callable[[Tensor], Found]) -> list[Found]:
    """`run` of the rows `index` (B,), `task.eval_batch_size` at a time.

    Where memory does not suffice that size is halved, stays so, and the part is passed again.
    """
    found: list[Found] = []
    start = 0
    while start < len(index):
        part = index[start : start + task.eval_batch_size]
        try:
            found.append(run(part))
        except RuntimeError as error:
            if len(part) == 1 or not lacks_memory(error):
                raise
        else:
            start += len(part)
            continue
        # Not in the handler: the error holds what was allocated.
        task.eval_batch_size = -(-len(part) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            Doubt(f"memory does not suffice to pass {len(part)} rows: {task.eval_batch_size} at a time from now on"),
            stacklevel=2,
        )
    return found
