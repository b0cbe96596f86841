"""Nested values of tensors: walked, rebuilt, and sent to a device in one piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_ALIGNED = 16  # bytes; every type of number can start there


def fields(value: Any) -> dict[Any, Any] | None:
    """What a nested value holds, by name or number; None where it holds nothing."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return dict(enumerate(value))
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


def sent(value: Any, device: torch.device) -> Any:
    """The same nesting with its tensors, which lie on the processor, as views of one tensor on `device`.

    A tensor that occurs twice is sent once. The copy goes from pinned memory, and the host does not wait for it.
    """
    places: dict[int, int] = {}
    kept: list[Tensor] = []
    end = 0

    def place(tensor: Tensor) -> Tensor:
        nonlocal end
        if id(tensor) not in places:
            places[id(tensor)] = end
            kept.append(tensor)
            end += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
        return tensor

    replaced(value, place)
    sheet = torch.empty(end, dtype=torch.uint8, pin_memory=device.type == "cuda")

    def view(of: Tensor, tensor: Tensor) -> Tensor:
        start = places[id(tensor)]
        return of[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)

    for tensor in kept:
        view(sheet, tensor).copy_(tensor)
    there = sheet.to(device, non_blocking=True)
    return replaced(value, lambda tensor: view(there, tensor))
