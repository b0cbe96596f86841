"""Methods, tasks and adaptations are found through entry points, our own and those of plug-ins alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hpo_bench.errors import UserError, unknown_name

METHODS, TASKS, ADAPTATIONS = "hpo_bench.methods", "hpo_bench.tasks", "hpo_bench.adaptations"


def names(group: str) -> list[str]:
    """Registered names of a group, sorted; nothing is imported."""
    return sorted(points(group))


def points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name."""
    return _read(group, tuple(_places()))


@lru_cache(maxsize=16)
def _read(group: str, places: tuple[tuple[str, int], ...]) -> dict[str, EntryPoint]:
    """What `places` hold: reading it takes as long as a small trial, and every trial asks."""
    return {point.name: point for point in entry_points(group=group)}


def _places() -> Iterator[tuple[str, int]]:
    """Where packages are looked for, and when something was last installed there."""
    for place in sys.path:
        try:
            yield place, os.stat(place or ".").st_mtime_ns
        except OSError:
            yield place, 0


def load(group: str, name: str) -> Any:
    """The object that an entry point names.

    Raises:
        UserError: no such name (the nearest are suggested), no name at all, or a plug-in that cannot be imported.
    """
    found = points(group)
    if not found:  # the code alone, on a path
        remedy = "install it (pip install hpo-bench, or pip install . in a checkout)"
        raise UserError("hpo-bench is not installed here: its methods and tasks are found through entry points", remedy)
    if name not in found:
        raise unknown_name(group.rpartition(".")[2].removesuffix("s"), name, sorted(found))
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        remedy = f"install what {found[name].value} needs, or uninstall the plug-in"
        raise UserError(f"{name} could not be imported: {error}", remedy) from error
