"""Methods, tasks and adaptations are found through entry points, our own and those of plug-ins alike."""

from __future__ import annotations

import os
import sys
import traceback
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
    return {name: found[0] for name, found in _read(group, tuple(_places())).items()}


@lru_cache(maxsize=16)
def _read(group: str, places: tuple[tuple[str, int], ...]) -> dict[str, list[EntryPoint]]:
    """What `places` hold, by name: reading it takes as long as a small trial, and every trial asks."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same = found.setdefault(point.name, [])
        if point.value not in [other.value for other in same]:
            same.append(point)
    return found


def _places() -> Iterator[tuple[str, int]]:
    """Where packages are looked for, and when something was last installed there."""
    for place in sys.path:
        try:
            yield place, os.stat(place or ".").st_mtime_ns
        except OSError:
            yield place, 0


def load(group: str, name: str, kind: type | None = None) -> Any:
    """The object that an entry point names.

    Args:
        kind: what it must be a subclass of, with nothing abstract left; None for a function.

    Raises:
        UserError: no such name (the nearest are suggested), no name at all, a name that two packages give, or a plug-in
            that cannot be imported or is something else.
    """
    found = points(group)
    word = group.rpartition(".")[2].removesuffix("s")
    if not found:  # the code alone, on a path
        remedy = "install it (pip install hpo-bench, or pip install . in a checkout)"
        raise UserError("hpo-bench is not installed here: its methods and tasks are found through entry points", remedy)
    if name not in found:
        raise unknown_name(word, name, sorted(found))
    values = [point.value for point in _read(group, tuple(_places())).get(name, ())]
    if len(values) > 1:
        told = f"the {word} {name!r} is given twice: {' and '.join(values)}"
        raise UserError(told, "rename it in the plug-in, or uninstall the plug-in")
    value = found[name].value
    try:
        loaded = found[name].load()
    except (ImportError, AttributeError) as error:
        remedy = f"install what {value} needs, or uninstall the plug-in"
        raise UserError(f"{name} could not be imported: {error}", remedy) from error
    except Exception as error:  # whatever a plug-in's module does when it is imported
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = "" if isinstance(error, SyntaxError) else f" ({place.filename}, line {place.lineno})"
        told = f"{name} could not be imported: {type(error).__name__}: {error}{at}"
        raise UserError(told, f"mend {value}, or uninstall the plug-in") from error
    remedy = "mend the entry point, or uninstall the plug-in"
    if kind is None:
        if not callable(loaded):
            raise UserError(f"the {word} {name} ({value}) is no function", remedy)
    elif not (isinstance(loaded, type) and issubclass(loaded, kind)):
        raise UserError(f"the {word} {name} ({value}) is no subclass of {kind.__name__}", remedy)
    elif lacking := sorted(getattr(loaded, "__abstractmethods__", ())):
        raise UserError(f"the {word} {name} ({value}) does not say {', '.join(lacking)}", f"write it in {value}")
    return loaded
