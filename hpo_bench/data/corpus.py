"""Unlabelled molecules for continued pretraining: MOSES, or a file of the user's own."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from hpo_bench.data.cache import GZIP_MAGIC
from hpo_bench.data.catalogue import MOSES_ROWS
from hpo_bench.data.providers import Progress, locate
from hpo_bench.errors import UserError

_XZ_MAGIC = b"\xfd7zXZ\x00"


def load_moses(
    n: int | None = None, seed: int = 0, data_dir: str | Path | None = None, progress: Progress | None = None
) -> list[str]:
    """`n` SMILES of MOSES's train part (1,584,663 in all; None = every one), drawn without replacement by `seed`.

    They come in file order, and a larger `n` with the same seed contains the smaller. The file is streamed: memory
    holds the sample and one index array. Raises UserError like `locate`, or when `n` is out of range.
    """
    located = locate("moses", data_dir, progress)
    return sample_smiles(located.path, n, seed, "SMILES", total=MOSES_ROWS if located.pinned else None)


def sample_smiles(
    path: str | Path, n: int | None = None, seed: int = 0, smiles_column: str = "smiles", total: int | None = None
) -> list[str]:
    """`n` SMILES of a file (None = all), drawn without replacement by `seed`, in file order.

    A csv or tsv (plain or gzipped) needs a header with `smiles_column` (case aside); in any other text file the first
    word of each line is the SMILES. `total` is the number of rows where known; otherwise a first pass counts them.
    Raises UserError: file missing or broken, no such column, `n` below 1 or above the number of rows.
    """
    path = Path(path).expanduser()
    if n is None:
        return list(_stream(path, smiles_column))
    if total is None:
        total = sum(1 for _ in _stream(path, smiles_column))
    if not 1 <= n <= total:
        raise UserError(f"{n} molecules were asked for; {path} has {total}.", f"Ask for 1 to {total}.")
    chosen = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(total)[:n]] = True
    return [smiles for smiles, wanted in zip(_stream(path, smiles_column), chosen, strict=False) if wanted]


def _stream(path: Path, smiles_column: str) -> Iterator[str]:
    with _open_text(path) as stream:
        name = path.name.casefold().removesuffix(".gz")
        if not name.endswith((".csv", ".tsv")):
            yield from (words[0] for words in map(str.split, stream) if words)
            return
        reader = csv.reader(stream, delimiter="\t" if name.endswith(".tsv") else ",")
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if smiles_column.casefold() not in header:
            raise UserError(
                f"{path} has no column {smiles_column!r}.", f"Its columns are: {', '.join(header) or 'none'}."
            )
        place = header.index(smiles_column.casefold())
        yield from (cells[place].strip() for cells in reader if len(cells) > place and cells[place].strip())


@contextmanager
def _open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """The file as UTF-8 text, unzipped on the way; whatever goes wrong while it is read becomes a UserError."""
    try:
        with path.open("rb") as raw:
            start = raw.peek(len(_XZ_MAGIC))
            plain = cast(BinaryIO, raw)
            if start.startswith(GZIP_MAGIC):
                plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw))
            elif start.startswith(_XZ_MAGIC):
                plain = cast(BinaryIO, lzma.LZMAFile(raw))  # noqa: SIM115 (closed with `text`)
            with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text:
                yield text
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.", f"Paths are taken from {Path.cwd()}.") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Give a text file in UTF-8, plain, .gz or .xz.") from error
