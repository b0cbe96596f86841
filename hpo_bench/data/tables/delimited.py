"""CSV and the like: which delimiter parts the rows, and the rows with the lines that they start on."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from hpo_bench.data.tables.opening import BREAK, Opened
from hpo_bench.data.tables.rows import TableFile
from hpo_bench.data.tables.values import number, tidy
from hpo_bench.errors import UserError

Quoting = Literal["standard", "none"]
_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_SEP = re.compile(r'("?)sep=([^"\r\n])\1(?:\r\n|\n|\r)', re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_SAMPLE = 500  # rows that a delimiter is checked against
_FEW = 30  # values that a column may have to be known by them


def read_delimited(opened: Opened, quoting: Quoting = "standard") -> TableFile:
    """Rows of a CSV or TSV. The delimiter is what a first line `sep=;` says, else what parts header and rows alike.

    With `quoting` none, quotation marks are text like any other (GLUE's TSV files).

    Raises:
        UserError: a quotation mark left open, a row with another number of cells, no header, no rows; with the line.
    """
    layout = _layout(opened, quoting)
    header, numbered = _iterate(opened, layout, quoting)
    found = list(numbered)
    if not found:
        what = "a header, but no rows" if header else "nothing in it"
        raise UserError(f"{opened.path} has {what}.", "Give a file with a header line and one row a line.")
    table = TableFile(opened.path, opened.sha256, header, [cells for _, cells in found], [line for line, _ in found])
    if quoting == "standard":
        _check_swallowed(table, opened.text, layout.delimiter)
    return table


def iterate_delimited(
    opened: Opened, quoting: Quoting = "standard"
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    """The header, and (line that it starts on, cells) of every row that is not blank; faults as in `read_delimited`."""
    return _iterate(opened, _layout(opened, quoting), quoting)


class _Layout(NamedTuple):
    delimiter: str
    told: bool  # by a first line of its own


def _layout(opened: Opened, quoting: Quoting) -> _Layout:
    told = _SEP.match(opened.text)
    return _Layout(told[2], True) if told else _Layout(_delimiter(opened.text, opened.name, quoting), False)


def _iterate(
    opened: Opened, layout: _Layout, quoting: Quoting
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    records = _records(opened, layout.delimiter, quoting)
    if layout.told:
        next(records, None)
    header = tuple(tidy(cell) for cell in next(records, (0, []))[1])
    return header, _whole(opened.path, header, layout.delimiter, records)


def _whole(
    path: Path, header: tuple[str, ...], delimiter: str, records: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in records:
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}.",
                _why(header, cells, _DELIMITERS.get(delimiter, repr(delimiter))),
            )
        if len(header) > 1 and tidy(cells[0]) == header[0] and tuple(map(tidy, cells)) == header:
            raise UserError(
                f"{path}, line {line}: the header is there again.", "Were two files put together? Take the line out."
            )
        yield line, cells


def _why(header: tuple[str, ...], cells: list[str], mark: str) -> str:
    """What to do about a row whose number of cells is another one than the header's."""
    if header[0].startswith("#"):
        return "The first line is taken as the header: take out lines of comment above it."
    if len(cells) == len(header) + 1 and not cells[-1].strip():
        return f"The line ends with {mark} too many: take it off, or end the header with one too."
    return (
        f"It was read with {mark} between the cells. Put fields that hold it in double quotes, and write every cell, "
        "empty ones too."
    )


def _physical(text: str) -> Iterator[str]:
    """Lines with their ends, one at a time: `io.StringIO` would hold the text a second time, four bytes a letter."""
    return (match[0] for match in _LINE.finditer(text))


def _records(opened: Opened, delimiter: str, quoting: Quoting) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)  # a long text is no fault
    rule: Literal[0, 3] = csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(_physical(opened.text), delimiter=delimiter, quoting=rule, strict=True)
    line = 1
    try:
        for cells in reader:
            if "".join(cells).strip():
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        told = "a quotation mark is opened and never closed"
        if "expected after" in str(error):
            told = "a quotation mark is opened here, and something follows the next one in place of the delimiter"
        more = ' Write "" for a quotation mark in a quoted field, not \\".' if '\\"' in opened.text else ""
        seen = "" if reader.line_num <= line else f" (noticed in line {reader.line_num})"
        raise UserError(
            f"{opened.path}, line {line}: {told}{seen}.",
            "Close the quotation mark, or double it inside a quoted field. Where quotation marks are text like any "
            f"other, give --task-option quoting=none.{more}",
        ) from error


def _delimiter(text: str, name: str, quoting: Quoting) -> str:
    """The delimiter that parts most of the first rows into as many cells as the header, and the header into several."""
    usual = ["\t", *_DELIMITERS] if name.endswith((".tsv", ".tab")) else list(_DELIMITERS)
    best, best_share = usual[0], 0.0
    for mark in dict.fromkeys(usual):
        rule: Literal[0, 3] = csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL
        reader = csv.reader(_physical(text), delimiter=mark, quoting=rule)
        filled = (len(cells) for cells in reader if "".join(cells).strip())
        try:
            widths = list(itertools.islice(filled, _SAMPLE))
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            share = sum(width == widths[0] for width in widths) / len(widths)
            if share > best_share:
                best, best_share = mark, share
    return best


def _check_swallowed(table: TableFile, text: str, delimiter: str) -> None:
    """Refuse a quoted field that spans rows of the table: its quotation mark was a character of the text.

    Lines of a long text seldom have the table's number of cells, and hardly ever a known label in the right place.
    """
    # Only rows with a gap after them, and the last, may have several lines: a wide table has millions of cells.
    ends = [*table.lines[1:], None]
    gaps = [row for row, end in enumerate(ends) if end is None or end > table.lines[row] + 1]
    tall = {row: place for row in gaps for place, cell in enumerate(table.rows[row]) if BREAK.search(cell)}
    if not tall or len(table.header) < 2:
        return
    physical = BREAK.split(text)
    plain = [cells for row, cells in enumerate(table.rows) if row not in tall]
    telling: dict[int, Callable[[str], bool]] = {}
    for place in range(len(table.header)):
        values = {tidy(cells[place]) for cells in plain} - {""}
        if values and len(values) <= max(2, min(_FEW, len(plain) // 3)):
            telling[place] = values.__contains__
        elif values and all(number(value) is not None for value in values):
            telling[place] = lambda text: number(text) is not None
    for row, inside in tall.items():
        start = table.lines[row]
        height = sum(len(BREAK.findall(cell)) for cell in table.rows[row]) + 1
        parts = [line.split(delimiter) for line in physical[start - 1 : start - 1 + height] if line.strip()]
        asked = {place: known for place, known in telling.items() if place != inside}
        if asked and all(
            len(cells) == len(table.header) and all(known(tidy(cells[place])) for place, known in asked.items())
            for cells in parts
        ):
            raise UserError(
                f"{table.path}, line {start}: a quotation mark is opened here and closed in line {start + height - 1}, "
                "and the lines between look like rows of their own.",
                "Close it in its line, double it if it is part of a quoted field, or give --task-option quoting=none "
                "where quotation marks are text like any other.",
            )
