"""What a cell says: nothing, a number, a class. The same for molecules and texts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from hpo_bench.data.tables.rows import TableFile
from hpo_bench.errors import UserError

MISSING = frozenset({"", "nan", "-nan", "na", "n/a", "none", "null", "<na>", "#n/a", "#na", "nat"})
# Words whose meaning is clear: the second is class 1.
PAIRS = (
    ("inactive", "active"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("negative", "positive"),
    ("neg", "pos"), ("-", "+"), ("nontoxic", "toxic"), ("non-toxic", "toxic"), ("off", "on"), ("-1", "1"),
)  # fmt: skip
SPLIT_WORDS = {
    "train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2,
}  # fmt: skip
EXACT = 2**53  # integers above it are not all told apart in float64
_LARGEST = 1e150  # of a label: the square of a few more digits is beyond float64
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_REMEDIES = (  # what a cell that is no number looks like, and what to do about it
    (r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", "Leave out commas between thousands; if it is a decimal comma, write a point."),
    (r"[+-]?\d+,\d+", "Write decimals with a point, not with a comma."),
    (r"[+-]?\d{1,3}([ .'\u2019\u00a0\u202f]\d{3})+([.,]\d+)?", "Leave out what parts thousands."),
    (r"=.*", "Write the number alone: this looks like a formula of a spreadsheet."),
    (r"[+-]?[\d.]+[dD][+-]?\d+", "Write exponents with e."),
    (r"[<>~\u2264\u2265\u2248].*", "A bound is no measurement: leave such rows out, or empty the cell."),
    (r".*\d\s*%", "Leave out the percent sign, in every cell alike."),
    (r".*\d\s*(\u00b1|\+/-).*", "Give the value alone; its uncertainty may stand in a column of its own."),
    (r"\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}.*", "It looks like a date: is it the right column?"),
    (r"[+-]?[\d.]+\s*[-\u2013]\s*[\d.]+", "Give one value, such as the middle of the range, or empty the cell."),
    (r"[\u2212\u2013].*", "Write minus as -, the sign of the keyboard."),
    (r"[+-]?[\d.]+([eE][+-]?\d+)?\s*[^\s\d_.,:;'+/-].*", "Leave out the unit, and give every value in the same one."),
)
_CONTROL = (*range(0x01, 0x09), *range(0x0E, 0x1C), 0x7F)  # what is neither a blank nor seen
_INVISIBLE = dict.fromkeys((*map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u180e"), *_CONTROL))


def tidy(cell: str) -> str:
    """Without blanks at its ends and without characters that have no width: what a person sees."""
    plain = cell.strip()
    return plain if plain.isascii() and plain.isprintable() else plain.translate(_INVISIBLE).strip()


def is_missing(cell: str) -> bool:
    """Does a tidied cell say that there is no label?"""
    return cell.casefold() in MISSING


def is_split_column(cells: Sequence[str]) -> bool:
    """Do most of these cells name a split?"""
    filled = [tidy(cell).casefold() for cell in cells if cell.strip()]
    return bool(filled) and sum(word in SPLIT_WORDS for word in filled) > len(filled) / 2


def number(cell: str) -> float | None:
    """A tidied cell as a finite number; None where it is none (`1_0`, digits of other scripts, `inf`, `0x1`)."""
    if not _NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    return value if np.isfinite(value) else None


def numbers(table: TableFile, place: int, values: Mapping[str, float] | None = None) -> np.ndarray:
    """A column's cells (N,) as float64, NaN where missing; `values` turns words into numbers first.

    Raises:
        UserError: a cell that is no number, or an integer that float64 cannot hold; with its line.
    """
    column = table.column(place)
    known: dict[str, float] = {}  # labels repeat, parsing does not
    for cell, row in _first_rows(column).items():
        text = tidy(cell)
        if values and text in values:
            known[cell] = values[text]
        elif is_missing(text):
            known[cell] = float("nan")
        else:
            known[cell] = _checked(table, place, table.lines[row], text)
    found = np.fromiter(map(known.__getitem__, column), dtype=np.float64, count=len(column))
    _check_squares(table, place, found[~np.isnan(found)])
    return found


def _first_rows(column: Sequence[str]) -> dict[str, int]:
    """Each different cell with its first row, in their order. Looking for each in the column would be quadratic."""
    found: dict[str, int] = {}
    for row, cell in enumerate(column):
        found.setdefault(cell, row)
    return found


def _check_squares(table: TableFile, place: int, known: np.ndarray) -> None:
    """Raise UserError where squares leave float64, so that neither a scale nor an RMSE exists."""
    if not known.size:
        return
    largest, spread = float(np.abs(known).max()), float(np.ptp(known / 2)) * 2
    if largest > _LARGEST or 0 < spread < 1 / _LARGEST:
        what, unit = (largest, "larger") if largest > _LARGEST else (spread, "smaller")
        told = "the largest label" if unit == "larger" else "the spread of the labels"
        raise UserError(
            f"{table.path}: {told} in column {table.header[place]!r} is {what:.3g}, whose square no float64 holds.",
            f"Give the column in a {unit} unit.",
        )


def _checked(table: TableFile, place: int, line: int, text: str) -> float:
    value = number(text)
    shown = repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
    where = f"{table.at(line)}: {shown} in column {table.header[place]!r}"
    if value is None:
        if _NUMBER.fullmatch(text):
            raise UserError(f"{where} is too large for a float64.", "Give the column in a larger unit.")
        remedy = "Labels are finite numbers with a decimal point; leave the cell empty where the label is missing."
        if any(character.isdecimal() and not character.isascii() for character in text):
            remedy = "Write digits as 0 to 9."
        remedy = next((told for shape, told in _REMEDIES if re.fullmatch(shape, text, re.ASCII)), remedy)
        raise UserError(f"{where} is not a number.", remedy)
    if not _is_told_apart(text, value):
        raise UserError(
            f"{where} is beyond 2^53: it cannot be told from its neighbours.",
            "Take an offset off the column, or give it in a larger unit.",
        )
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise UserError(f"{where} is too close to 0 for a float64.", "Give the column in a smaller unit.")
    return value


def _is_told_apart(text: str, value: float) -> bool:
    """Is a number not a large integer that float64 rounds to another one, however it is written?"""
    if abs(value) < EXACT:
        return True
    exact = Decimal(text)
    if text.strip("+-").isdigit():
        known = len(text.strip("+-0"))
    else:  # 1.2345e20 is rounded as it stands; its last digit is not the unit
        known = 0 if int(exact.as_tuple().exponent) > 0 else len(exact.as_tuple().digits)
    # Up to 15 digits float64 gives back as they were.
    return known <= 15 or exact == Decimal(value) or exact != exact.to_integral_value()


@dataclass(frozen=True)
class Classes:
    """`codes` (N,) float64 into `names`, NaN where missing; `note` tells how words were read."""

    names: tuple[str, ...]
    codes: np.ndarray
    note: str = ""


def classes(table: TableFile, place: int) -> Classes:
    """A column's cells as classes: numbers in their order, a pair of words as in `PAIRS`, else words in theirs.

    `1`, `1.0` and `1e0` are one class.

    Raises:
        UserError: two differ only in case, blanks or the way that a letter is written; both lines are named.
    """
    column, name = table.column(place), table.header[place]
    times_of = Counter(column)  # distinct cells alone from here: a table may have millions
    spelt = {cell: _spelling(tidy(cell)) for cell in times_of}
    first: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for cell, row in _first_rows(column).items():
        if spelt[cell]:
            first.setdefault(spelt[cell], table.lines[row])
            counts[spelt[cell]] += times_of[cell]
    seen: dict[str, str] = {}
    for word in first:
        other = seen.setdefault(_folded(word), word)
        if other != word:
            raise UserError(
                f"{table.path}: {other!r} in line {first[other]} and {word!r} in line {first[word]} of column {name!r} "
                "differ only in case, blanks or the way that a letter is written.",
                "Write one class in one way.",
            )
    _check_one_spelling(table, name, first)
    names, note = _ordered(list(first)), ""
    if names not in (("0", "1"), ("0",), ("1",)) and 1 <= len(names) <= 20:
        where = {word: f"{counts[word]} rows" if counts[word] > 1 else f"line {first[word]} alone" for word in names}
        told = ", ".join(f"{word!r} is {code} ({where[word]})" for code, word in enumerate(names))
        note = f"column {name!r} is read as classes: {told}"
    code = {word: float(number) for number, word in enumerate(names)}
    code[""] = float("nan")
    of_cell = {cell: code[word] for cell, word in spelt.items()}
    return Classes(names, np.fromiter(map(of_cell.__getitem__, column), dtype=np.float64, count=len(column)), note)


def _check_one_spelling(table: TableFile, name: str, first: Mapping[str, int]) -> None:
    """Raise UserError where yes and no are written in more than one way: `true` and `1` are hardly two classes."""
    words = {_folded(word) for word in first}
    clear = {word for pair in PAIRS for word in pair if len(word) > 2 or word == "no"} | {"0", "1"}
    if len(words) > 2 and words <= clear:
        shown = ", ".join(f"{word!r} in line {line}" for word, line in first.items())
        raise UserError(
            f"{table.path}: column {name!r} holds {shown}: two classes in several spellings?",
            "Write one class in one way.",
        )


def _spelling(text: str) -> str:
    """A class as it is named: a number in its shortest form, "" where missing."""
    if is_missing(text):
        return ""
    value = number(text)
    if value is None or not _is_told_apart(text, value):  # names such as 20-digit keys stay as they are written
        return text
    return str(int(value)) if value.is_integer() and abs(value) <= EXACT else repr(value)


def _folded(word: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())


def _ordered(words: Sequence[str]) -> tuple[str, ...]:
    pair = _as_pair(words)
    if pair is not None:
        return pair
    values = [number(word) for word in words]
    if all(value is not None for value in values):
        return tuple(sorted(words, key=float))
    return tuple(sorted(words))


def _as_pair(words: Sequence[str]) -> tuple[str, ...] | None:
    """The words in the order of the pair that they are, if they are one."""
    by_folded = {_folded(word): word for word in words}
    for pair in PAIRS:
        if set(by_folded) == set(pair):
            return tuple(by_folded[word] for word in pair)
    return None


def is_clear(names: Sequence[str]) -> bool:
    """Can it be told which of two classes is 1?"""
    return tuple(names) in ((), ("0", "1"), ("0",), ("1",)) or _as_pair(names) is not None
