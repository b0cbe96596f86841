"""What several verbs share: option types, and how words become values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.core.settings import real, whole
from hpo_bench.errors import UserError


def at_least(least: int) -> Callable[[str], int]:
    """The parser of an option that is a whole number from `least`: ASCII digits with nothing between them."""

    def integer(text: str) -> int:
        number = whole(str(text))
        if number is None or number < least:
            raise typer.BadParameter(f"{text!r} is not a whole number from {least} on, of 18 digits at most.")
        return number

    return integer


def finite(text: str) -> float:
    """The parser of an option that is a finite number."""
    number = real(str(text))
    if number is None:
        raise typer.BadParameter(f"{text!r} is not a finite number.")
    return number


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with data files, looked in first (or HPO_BENCH_DATA).")]
Out = Annotated[Path, typer.Option(help="Folder of the run records.")]
Seeds = Annotated[int, typer.Option(parser=at_least(1), help="Seeds that every weighting is trained with.")]
FirstSeed = Annotated[int, typer.Option(parser=at_least(0), help="The first seed.")]
Task = Annotated[str, typer.Option("--task", "-t", help="What is trained on (see `list`).")]


def use_data_dir(folder: Path | None) -> None:
    """Set the data folder in the environment, so that workers see it and no record holds a machine's path."""
    if folder is not None:
        os.environ["HPO_BENCH_DATA"] = str(folder.resolve())


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {key: value for key, value in values.items() if value is not None}


def pairs(texts: list[str] | None) -> dict[str, Any]:
    """`name=value` texts.

    Raises:
        UserError: a text without an equals sign.
    """
    found: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"cannot read {text!r}", "write name=value")
        found[key.strip()] = value.strip()  # the last one counts, as with flags
    return found


def together(options: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Options of a method or task from `name=value` and from flags of their own.

    Raises:
        UserError: both say something, and not the same.
    """
    for key, value in flags.items():
        if key in options and str(options[key]) != str(value):
            flag = f"--{key.replace('_', '-')} {value}"
            raise UserError(f"{key}={options[key]} and {flag} say different things", "leave one of them out")
    return {**options, **flags}


def refuse(flags: dict[str, Any], where: str, remedy: str = "leave it out") -> None:
    """Raise UserError if there are `flags`: nobody would read them beside, or without, what `where` names."""
    if flags:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in flags)
        raise UserError(f"{named} cannot go {where}", remedy)


def print_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    """A table of rows with the same keys, or JSON."""
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")  # a path must not end in an ellipsis
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console(markup=False).print(table)
