"""Task options as words of a command line: some have a flag of their own, every other is `--task-option name=value`."""

from __future__ import annotations

from typing import Any

from hpo_bench.core.settings import real, whole
from hpo_bench.errors import UserError

FLAGS = (
    *("objectives", "plant", "base", "split", "path", "smiles", "label", "kind"),
    *("encoder", "checkpoint", "model", "corpus"),
)


def read(pairs: dict[str, str]) -> dict[str, Any]:
    """The values of `--task-option`; what reads as a number is one.

    Raises:
        UserError: an option that has a flag of its own.
    """
    for name, value in pairs.items():
        if name in FLAGS:
            raise UserError(f"the task option {name} has a flag of its own", f"write --{name} {value}")
    return {name: _number(value) for name, value in pairs.items()}


def words(options: dict[str, Any]) -> list[str]:
    """The words that give the same options again."""
    found: list[str] = []
    for name, value in options.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        found += [f"--{name}", text] if name in FLAGS else ["--task-option", f"{name}={text}"]
    return found


def _number(text: str) -> int | float | str:
    for value in (whole(text), real(text)):
        if value is not None:
            return value
    return text
