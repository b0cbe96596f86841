"""What the sessions of a run differ in: it may go on under other versions, on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def environment_changes(environments: Sequence[dict[str, Any]]) -> list[str]:
    """Where the sessions of a run differ, a sentence for each session that differs from the one before it."""
    told = []
    for before, after in pairwise(environments):
        old, new = (
            _flat({key: value for key, value in one.items() if key not in ("session", "nodes")})
            for one in (before, after)
        )
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if keys:
            what = "; ".join(f"{key} {new.get(key)} in place of {old.get(key)}" for key in keys)
            told.append(f"session {after['session']} had {what}")
    return told


def machine_kinds(environments: Sequence[dict[str, Any]]) -> list[str]:
    """The kinds of machines that worked on a run, this one's and those of its workers: processor and accelerator."""
    machines = [machine for one in environments for machine in (one, *(one.get("nodes") or []))]
    told = [[one[key] for key in ("processor", "accelerator") if one.get(key)] for one in machines]
    return sorted({" with ".join(names) for names in told if names})


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat
