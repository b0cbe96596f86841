"""Nested values of tensors: walked, rebuilt, cut into rows, and sent to a device in one piece."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor


def fields(value: Any) -> dict[Any, Any] | None:
    """What a nested value holds, by name or number; None where it holds nothing."""
    inside = _inside(type(value))
    return None if inside is None else inside(value)


@cache
def _inside(kind: type) -> Callable[[Any], dict[Any, Any]] | None:
    """How to look into values of a type, found out once: batches are walked at every step."""
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: {name: getattr(value, name) for name in names}
    if issubclass(kind, Mapping):
        return dict
    if issubclass(kind, Sequence) and not issubclass(kind, str | bytes):
        return lambda value: dict(enumerate(value))
    return None


def replaced(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of dataclasses, tuples, lists and mappings with every tensor changed, in order."""
    if isinstance(value, Tensor):
        return change(value)
    inner = fields(value)
    if inner is None:
        return value
    new = {name: replaced(part, change) for name, part in inner.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **new)
    if isinstance(value, Mapping):
        return new
    return type(value)(*new.values()) if hasattr(value, "_fields") else type(value)(new.values())


def row_count(value: Any) -> int:
    """Rows of a batch: what `len` says, or those of the first tensor in a tuple, list or mapping.

    Raises:
        TypeError: there is no tensor in it.
    """
    if isinstance(value, tuple | list | Mapping):
        parts = list(value.values() if isinstance(value, Mapping) else value)
        if not parts:
            raise TypeError("a batch without a tensor has no rows")
        return row_count(parts[0])
    return len(value)


def bounds(size: int, most: int) -> list[tuple[int, int]]:
    """Where to cut `size` rows into parts of `most` rows at most: start and end of each; lengths differ by one at most.

    No part is a single row, of which batch norm has no statistics, unless there is but one: then parts are longer.
    """
    count = max(1, min(-(-size // most), size // 2))
    edges = [size * part // count for part in range(count + 1)]
    return list(itertools.pairwise(edges))


def rows(value: Any, start: int, end: int) -> Any:
    """Rows start, …, end − 1 of a nested value, each of whose tensors has a row (first dimension) for each of `value`.

    Raises:
        TypeError: a tensor has another number of rows.
    """
    count = row_count(value)

    def cut(tensor: Tensor) -> Tensor:
        if tensor.dim() == 0 or len(tensor) != count:
            raise TypeError(f"a tensor {tuple(tensor.shape)} of a batch of {count} rows cannot be cut by rows")
        return tensor[start:end]

    return replaced(value, cut)


def sent(value: Any, device: torch.device) -> Any:
    """The same nesting with its tensors, which lie on the processor, as views of one tensor on `device`.

    A tensor that occurs twice is sent once. The copy goes from pinned memory, and the host does not wait for it.
    """
    found: dict[int, Tensor] = {}
    replaced(value, lambda tensor: found.setdefault(id(tensor), tensor))
    tensors = sorted(found.values(), key=Tensor.element_size, reverse=True)  # so each starts where its type may
    parts = [tensor.reshape(-1).view(torch.uint8) for tensor in tensors]
    sizes = [len(part) for part in parts]
    sheet = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=device.type == "cuda")
    torch.cat(parts, out=sheet)
    there = sheet.to(device, non_blocking=True).split(sizes)
    views = {
        id(tensor): piece.view(tensor.dtype).view(tensor.shape) for tensor, piece in zip(tensors, there, strict=True)
    }
    return replaced(value, lambda tensor: views[id(tensor)])
