"""A CSV file as text cells with line numbers: comma, tab or semicolon, plain or gzipped, UTF-8 with or without BOM."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from hpo_bench.data.cache import GZIP_MAGIC
from hpo_bench.errors import UserError


@dataclass(frozen=True)
class CsvFile:
    """`header` (C,) names without outer blanks, `rows` (N, C) cells, `lines` (N,) where each row ends, 1-based."""

    path: Path
    sha256: str  # of the file's bytes as they lie on the disk
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_csv(path: str | Path) -> CsvFile:
    """Read a whole file. The delimiter is a tab for `.tsv`, else whatever parts the header: comma, tab or semicolon.

    Raises UserError: no such file, a broken gzip, not UTF-8, no header, no rows, or a row with another number of cells.
    """
    path = Path(path).expanduser()
    content = _read_bytes(path)
    text = _decode(path, _unzip(path, content))
    delimiter = _delimiter(path, text)
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: tuple[str, ...] = ()
    try:
        for cells in reader:
            if not "".join(cells).strip():
                continue
            if not header:
                header = tuple(cell.strip() for cell in cells)
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}.",
                    "Put fields that hold the delimiter in double quotes, and write every cell, empty ones too.",
                )
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.", "Is a quotation mark left open there?") from error
    if not rows:
        what = "a header, but no rows" if header else "nothing in it"
        raise UserError(f"{path} has {what}.", "Give a CSV file with a header line and one molecule a line.")
    return CsvFile(path, hashlib.sha256(content).hexdigest(), header, rows, lines)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.", f"Paths are taken from {Path.cwd()}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a file that you may read.") from error


def _unzip(path: Path, content: bytes) -> bytes:
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a broken gzip file: {error}.", "Copy or download it again.") from error


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8.",
            f"Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv",
        ) from error


def _delimiter(path: Path, text: str) -> str:
    if path.name.removesuffix(".gz").endswith(".tsv"):
        return "\t"
    head = text.lstrip().partition("\n")[0]
    return next((mark for mark in ",\t;" if mark in head), ",")
