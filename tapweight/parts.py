"""What modules are made of: walks over trees take long beside a small model's passes, so an update makes each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor, nn

Found = TypeVar("Found")

_KNOWN: ContextVar[dict[tuple[str, int], tuple[nn.Module, object]] | None] = ContextVar("known", default=None)


@contextmanager
def unchanged() -> Iterator[None]:
    """Inside, modules keep their parts, and each tree is walked once."""
    if _KNOWN.get() is not None:
        yield
        return
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def _once(what: str, module: nn.Module, walk: Callable[[], Found]) -> Found:
    known = _KNOWN.get()
    if known is None:
        return walk()
    key = what, id(module)
    if key not in known:
        known[key] = module, walk()  # held, so that nothing else gets its id
    return known[key][1]  # type: ignore[return-value]


def modules_of(module: nn.Module) -> list[nn.Module]:
    """It and all inside, each once."""
    return _once("modules", module, lambda: list(module.modules()))


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """A tied parameter appears once, under its first name."""

    def first() -> dict[str, nn.Parameter]:
        seen: dict[int, str] = {}
        named = parameters_by_any_name(module)
        return {name: each for name, each in named.items() if seen.setdefault(id(each), name) == name}

    return _once("parameters", module, first)


def parameters_by_any_name(module: nn.Module) -> dict[str, nn.Parameter]:
    """A tied parameter appears under each of its names."""
    return _once("names", module, lambda: dict(module.named_parameters(remove_duplicate=False)))


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    """By name."""
    return _once("buffers", module, lambda: dict(module.named_buffers()))


def tied_names(module: nn.Module) -> dict[str, str]:
    """Further name → first name of each parameter or buffer that several modules hold; a module is looked at once."""

    def walk() -> dict[str, str]:
        first: dict[int, str] = {}
        further = {}
        for place, part in module.named_modules():
            for key, tensor in (*part._parameters.items(), *part._buffers.items()):
                name = f"{place}.{key}" if place else key
                if tensor is not None and first.setdefault(id(tensor), name) != name:
                    further[name] = first[id(tensor)]
        return further

    return _once("tied", module, walk)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that require a gradient; a tied parameter appears once, under its first name."""
    return {name: parameter for name, parameter in parameters_of(module).items() if parameter.requires_grad}


def devices_of(*modules: nn.Module) -> list[torch.device]:
    """Accelerators on which the modules keep tensors (the CPU generator is always looked after)."""
    found = {device for module in modules for device in _devices(module)}
    return sorted((device for device in found if device.type != "cpu"), key=str)


def _devices(module: nn.Module) -> set[torch.device]:
    def walk() -> set[torch.device]:
        return {tensor.device for tensor in (*parameters_of(module).values(), *buffers_of(module).values())}

    return _once("devices", module, walk)
