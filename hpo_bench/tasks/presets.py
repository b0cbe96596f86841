"""What `--preset` means for a task that the general sizes do not suit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Loader = TypeVar("Loader", bound=Callable[..., Any])


@dataclass(frozen=True)
class TaskPreset:
    """Changes to the general preset of the same name (`hpo_bench.run.presets`), for one task.

    Attributes:
        protocol: settings of the protocol, by name.
        options: options of the task, by name. A run's record holds them as if they had been typed.
        check: is told the options that were given; raises UserError where the preset needs others.
    """

    protocol: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], None] | None = None


def with_presets(**presets: TaskPreset) -> Callable[[Loader], Loader]:
    """Decorate a task's loader with presets of its own; the configuration of a run reads them."""

    def give(loader: Loader) -> Loader:
        vars(loader)["presets"] = presets
        return loader

    return give


def preset_of(loader: object, name: str) -> TaskPreset:
    """What the preset `name` means for the task of a loader; an empty change where the loader says nothing."""
    presets: dict[str, TaskPreset] = getattr(loader, "presets", {})
    return presets.get(name, TaskPreset())
