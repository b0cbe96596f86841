"""Words as values: what a person writes on a command line or in a study, read strictly, in one place for all verbs."""

from __future__ import annotations

import dataclasses
import math
import re
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hpo_bench.errors import UserError, unknown_name

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")

# Metadata of a dataclass's field that says where work is done: no part of what is recorded, or of a run's identity.
PLACE: dict[str, Any] = {"place": True}

Settings = TypeVar("Settings")


def whole(text: str) -> int | None:
    """The whole number that `text` is; None if it is none. ASCII digits, 18 at most, nothing between them."""
    return int(text) if _WHOLE.fullmatch(text) else None


def real(text: str) -> float | None:
    """The finite number that `text` is, such as 0.1 or 1e-3; None if it is none."""
    value = float(text) if _REAL.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def without_place(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Values of a dataclass's fields, less those that say where work is done (`PLACE`)."""
    places = {one.name for one in dataclasses.fields(cls) if one.metadata.get("place")}
    return {name: value for name, value in values.items() if name not in places}


def read_settings(cls: type[Settings], given: dict[str, Any], what: str) -> Settings:
    """A dataclass from the names and values that were given; values may be text.

    A number is finite, true is not 1, and a choice is one of those that the type names. `what` says in errors what a
    name stands for: "protocol setting", "option of tpe".

    Raises:
        UserError: an unknown name, or a value that does not fit.
    """
    from pydantic import ValidationError

    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise unknown_name(what, name, known)
    hints, adapter = _typed(cls)  # type: ignore[arg-type]
    try:
        return adapter.validate_python(
            {name: read_value(hints[name], value, f"{what} {name}") for name, value in given.items()}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{what} {where}: {first['msg']}", f"you gave {first['input']!r}") from error


@lru_cache(maxsize=64)
def _typed(cls: type) -> tuple[dict[str, Any], Any]:
    """The types of a dataclass's fields, and what holds values to them: it takes milliseconds to make."""
    from pydantic import TypeAdapter

    return get_type_hints(cls), TypeAdapter(cls)


def read_value(hint: Any, value: Any, what: str) -> Any:
    """A value on its way to a field or parameter of the type `hint`; other types than numbers and choices pass.

    Raises:
        UserError: a number was wanted.
    """
    if get_origin(hint) is Literal and isinstance(value, str):
        return {str(choice): choice for choice in get_args(hint)}.get(value, value)  # "2" where 2 is a choice
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    if not kinds & {int, float} or kinds & {str, bool} or value is None:
        return value
    number = value
    if isinstance(value, str):
        number = whole(value) if float not in kinds else real(value)
    fits = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if fits and float not in kinds and isinstance(number, float):
        fits = number.is_integer() and abs(number) < 10**18
    if not fits:
        kind = "a number" if float in kinds else "a whole number"
        raise UserError(f"{what} must be {kind}", f"you gave {value!r}")
    return number
