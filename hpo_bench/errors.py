"""Errors that a person can act on: what went wrong, and what to do about it."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class UserError(Exception):
    """Something the person who runs the program can put right.

    `message` says what is wrong, `remedy` what to do about it; `str(error)` shows both. The command line prints it
    without a traceback and exits with status 2. It survives pickling, so it crosses process borders unharmed.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


def one_line(text: object) -> str:
    """An error's lines as one: a semicolon where a line ends without a stop of its own."""
    told, *rest = str(text).split("\n")
    for line in rest:
        told += f"{'' if told.endswith(tuple('.:;?!')) else ';'} {line.strip()}"
    return told


class Doubt(UserWarning):
    """A warning about a score that counts all the same, such as constant predictions; it goes into the record."""


@contextmanager
def doubts(told: Callable[[str], None]) -> Iterator[None]:
    """Call `told` with every different `Doubt` that is warned of inside the block; each is shown once."""
    found: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Doubt)
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *place: Any) -> None:
            known = issubclass(category, Doubt) and str(message) in found
            if issubclass(category, Doubt) and not known:
                found.add(str(message))
                told(str(message))
            if not known:
                show(message, category, *place)

        warnings.showwarning = keep  # type: ignore[assignment]
        yield


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of `known` that are spelt like `name` (case aside), the nearest first."""
    by_folded = {entry.casefold(): entry for entry in known}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=count, cutoff=0.6)
    return [by_folded[entry] for entry in close]


def unknown_name(kind: str, name: str, known: Iterable[str], most: int = 40) -> UserError:
    """The error for a name that is not among `known`: suggests the nearest, lists the known ones (`most` at most).

    `kind` is what the name stands for, in the singular: "task", "method", "column".
    """
    entries = sorted(known)
    close = nearest(name, entries)
    message = f"There is no {kind} named {name!r}."
    if close:
        message += " Did you mean " + " or ".join(repr(entry) for entry in close) + "?"
    if not entries:
        return UserError(message, f"No {kind} is known here.")
    more = f" and {len(entries) - most} more" if len(entries) > most else ""
    return UserError(message, f"Known: {', '.join(entries[:most])}{more}.")
