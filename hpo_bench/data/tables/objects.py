"""JSON tables: one object a line, or one array of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo_bench.data.tables.opening import BREAK, Opened
from hpo_bench.data.tables.rows import TableFile
from hpo_bench.data.tables.values import tidy
from hpo_bench.errors import UserError
from hpo_bench.records.files import no_key_twice

_REMEDY = "Give one JSON object a line (.jsonl), or one array of objects (.json)."
_RECORDS = _REMEDY + " pandas writes them with to_json(orient='records', lines=True)."
_SPACE = re.compile(r"[ \t\r\n]*")


def is_json(opened: Opened) -> bool:
    """Does a file's name say that JSON is in it, or does its text begin like that?"""
    return opened.name.endswith((".jsonl", ".ndjson", ".json")) or opened.text.lstrip()[:2] in ('{"', "[{")


def read_objects(opened: Opened) -> TableFile:
    """Rows of JSON lines or of an array; a cell is the value as JSON writes it, "" for null or a missing key.

    Raises:
        UserError: no JSON, something else than flat objects, a key twice, half a character; with the line.
    """
    text = opened.text
    array = text.lstrip()[:1] == "["
    header: dict[str, int] = {}
    places: dict[str, int] = {}  # by key as it is written: few keys, many rows
    rows, lines = [], []
    for line, found in (_elements if array else _lines)(opened.path, text):
        if not isinstance(found, dict):
            raise UserError(f"{opened.path}, line {line}: {_shown(found)} is not an object.", _REMEDY)
        cells = [""] * len(header)
        for key, value in found.items():
            if key not in places:
                _check_whole(opened.path, line, "a key", key)
                places[key] = header.setdefault(tidy(key), len(header))
            place = places[key]
            cells += [""] * (place + 1 - len(cells))
            cells[place] = _cell(opened.path, line, key, value)
        if len(places) > len(header) and len({places[key] for key in found}) < len(found):
            raise UserError(f"{opened.path}, line {line}: two keys differ in blanks alone.", "Rename one of them.")
        rows.append(cells)
        lines.append(line)
    if not rows:
        raise UserError(f"{opened.path} has nothing in it.", _REMEDY)
    whole = [cells + [""] * (len(header) - len(cells)) for cells in rows]
    return TableFile(opened.path, opened.sha256, tuple(header), whole, lines)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(BREAK.split(text), 1):
        if line.strip():
            try:
                yield number, _DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                raise _broken(path, number, error) from error


def _elements(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The elements of an array, each with the line that it starts on."""
    at, line, counted = _past(text, text.index("[") + 1), 1, 0
    while True:
        line, counted = line + len(BREAK.findall(text, counted, at)), at
        mark = text[at : at + 1]
        if mark == "]":
            break
        try:
            found, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _broken(path, getattr(error, "lineno", line), error) from error
        yield line, found
        at = _past(text, at)
        if text[at : at + 1] not in (",", "]"):
            raise UserError(f"{path}: after the object of line {line} comes no comma and no end of the array.", _REMEDY)
        at = _past(text, at + 1) if text[at] == "," else at
    if text[at + 1 :].strip():
        raise UserError(f"{path}, line {line}: the array ends, and something follows it.", _REMEDY)


def _past(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


# Numbers stay as they are written: 9007199254740993.0 read as a float would be another number already.
_DECODER = json.JSONDecoder(object_pairs_hook=no_key_twice, parse_float=str, parse_int=str)


def _cell(path: Path, line: int, key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        _check_whole(path, line, repr(key), value)
        return value
    if isinstance(value, list | dict):
        what = "a list" if isinstance(value, list) else "an object"
        long = len(value) > 20
        remedy = _RECORDS if long else "A cell is one text, one number, true or false."
        more = ": is the whole table in one object?" if long else "."
        raise UserError(f"{path}, line {line}: {key!r} holds {what}{more}", remedy)
    return json.dumps(value)


def _check_whole(path: Path, line: int, where: str, text: str) -> None:
    """Raise UserError where half of a surrogate pair is there, which nothing can write or read on."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}, line {line}: {where} holds \\u{ord(text[error.start]):04x}, half of a character.",
            "Write both halves of the surrogate pair, or leave it out: a text was cut in the middle of an emoji.",
        ) from error


def _broken(path: Path, line: int | str, error: Exception) -> UserError:
    told = "brackets too deep" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, json.JSONDecodeError):  # its own line counts from where it was handed the text
        line, told = f"{line}, column {error.colno}", error.msg
    return UserError(f"{path}, line {line}: {told}.", _REMEDY)


def _shown(value: Any) -> str:
    text = re.sub(r'"(-?\d[\d.eE+-]*)"', r"\1", json.dumps(value))  # numbers are texts here
    return text if len(text) < 40 else f"{text[:37]}..."
