"""Which tensors can be reached from an object? Used to show that a search cannot get at the test split."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch

_LEAVES = (types.ModuleType, type, str, bytes, int, float, bool, complex, type(None), torch.dtype, torch.device)


def reachable_tensors(start: Any, limit: int = 500_000) -> Iterator[torch.Tensor]:
    """Every tensor that attributes, containers, closures and bound methods lead to, but not modules and classes.

    A view leads to all of the storage it shares, so compare storages (`shares_storage`).
    """
    seen: set[int] = set()
    kept: list[Any] = []  # ids stay unique while the objects live
    stack = [start]
    while stack and len(seen) < limit:
        item = stack.pop()
        if id(item) in seen or isinstance(item, _LEAVES):
            continue
        seen.add(id(item))
        kept.append(item)
        if isinstance(item, torch.Tensor):
            yield item
        stack.extend(_neighbours(item))


def shares_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Do two tensors lie in the same memory?"""
    return a.numel() > 0 and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _neighbours(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    elif isinstance(item, types.MethodType):
        yield from (item.__self__, item.__func__)
    elif isinstance(item, types.FunctionType):
        yield from item.__defaults__ or ()
        yield from (item.__kwdefaults__ or {}).values()
        for cell in item.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # an empty cell
                continue
    if not isinstance(item, types.FunctionType):
        yield from getattr(item, "__dict__", {}).values()
        for name in getattr(type(item), "__slots__", ()):
            if hasattr(item, name):
                yield getattr(item, name)
