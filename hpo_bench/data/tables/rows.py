"""A table as cells, whatever file it came from, and its columns by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpo_bench.errors import UserError, nearest


@dataclass(frozen=True)
class TableFile:
    """A table as text.

    Attributes:
        header: (C,) names without outer blanks.
        rows: (N, C) cells, "" where there is nothing.
        lines: (N,) the line of the file that each row starts on, from 1.
        sha256: of the file's bytes.
    """

    path: Path
    sha256: str
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def __post_init__(self) -> None:
        names = [_composed(name) for name in self.header]
        for place, name in enumerate(names):
            if name and name in names[:place]:
                first = names.index(name) + 1
                raise UserError(
                    f"{self.path} has two columns named {name!r}: number {first} and number {place + 1}.",
                    "Rename one of them: it cannot be told which is meant.",
                )

    @cached_property
    def _columns(self) -> list[tuple[str, ...]]:
        """All columns, transposed in one pass: reading them one by one would visit every row once for each."""
        return list(zip(*self.rows, strict=True))

    def column(self, place: int) -> tuple[str, ...]:
        """The cells (N,) of a column."""
        return self._columns[place]

    def at(self, line: int) -> str:
        """`FILE, line N`, for errors."""
        return f"{self.path}, line {line}"

    def place(self, name: str, what: str, option: str) -> int:
        """Where a column is.

        Raises:
            UserError: there is none; the nearest names are told.
        """
        names = [_composed(known) for known in self.header]
        if _composed(name) in names:
            return names.index(_composed(name))
        close = nearest(name, self.header)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        if not close and any(_is_data(cell) for cell in self.header):
            hint = " Its first line looks like data: is the line with the columns' names missing?"
        elif not close and len(self.header) == 1 and len(self.header[0].split()) > 1:
            hint = " Are its cells parted by blanks, as in a .smi file? Part them by commas under a line with names."
        raise UserError(
            f"{self.path} has no {what} {name!r}.{hint}",
            f"Its columns are: {listed(self.header)}. Name one with {option}.",
        )

    def check_apart(self, places: Sequence[int]) -> None:
        """Raise UserError where one column is named for two things, say as text and as label."""
        twice = next((place for number, place in enumerate(places) if place in places[:number]), None)
        if twice is not None:
            raise UserError(
                f"the column {self.header[twice]!r} of {self.path} is named for two things.",
                "Inputs, labels and the split need columns of their own.",
            )

    def places(self, names: Sequence[str], what: str, option: str) -> list[int]:
        """Where several columns are. `names` were parted at commas; parts that make up a column's name are that column.

        Raises:
            UserError: no such column, or the parts are columns too, so that nobody can tell what is meant.
        """
        whole = {_joined(name.split(",")): place for place, name in enumerate(self.header) if "," in name}
        found: list[int] = []
        start = 0
        while start < len(names):
            ends = [end for end in range(len(names), start + 1, -1) if _joined(names[start:end]) in whole]
            end = ends[0] if ends else start + 1
            if ends and all(name in self.header for name in names[start:end]):
                joined = self.header[whole[_joined(names[start:end])]]
                parts = " and ".join(map(repr, names[start:end]))
                raise UserError(
                    f"{self.path} has a column {joined!r}, and columns {parts} too.", "Rename the one with the comma."
                )
            found.append(whole[_joined(names[start:end])] if ends else self.place(names[start], what, option))
            start = end
        if len(set(found)) < len(found):
            raise UserError(f"a column is named twice with {option}: {', '.join(names)}", "Name each once.")
        return found


def listed(names: Sequence[str], most: int = 30) -> str:
    """Names in quotes, at most so many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _composed(name: str) -> str:
    """A name as it is seen: é may be one character or two."""
    return unicodedata.normalize("NFC", name)


def _is_data(cell: str) -> bool:
    """Is a header's cell a number, a sentence, or a note?"""
    return cell[:1] in ("#", "_") or len(cell.split()) > 5 or any(part[:1].isdigit() for part in cell.split()[:1])


def _joined(parts: Sequence[str]) -> str:
    return ",".join(_composed(part.strip()) for part in parts)
