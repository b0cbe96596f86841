"""Unlabelled molecules for continued pretraining: MOSES, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpo_bench.data.catalogue import MOSES_ROWS
from hpo_bench.data.providers import Progress, locate
from hpo_bench.data.tables.delimited import iterate_delimited
from hpo_bench.data.tables.objects import is_json, read_objects
from hpo_bench.data.tables.opening import Opened, read_text
from hpo_bench.data.tables.rows import listed
from hpo_bench.data.tables.values import tidy
from hpo_bench.errors import UserError


def load_moses(
    n: int | None = None, seed: int = 0, data_dir: str | Path | None = None, progress: Progress | None = None
) -> list[str]:
    """`n` SMILES of MOSES's train part (1,584,663 in all; None = every one), drawn without replacement by `seed`.

    They come in file order, and a larger `n` with the same seed contains the smaller. Memory holds the file's text, the
    sample and one index array.

    Raises:
        UserError: the file cannot be had (see `locate`), or `n` is out of range.
    """
    located = locate("moses", data_dir, progress)
    return sample_smiles(located.path, n, seed, "SMILES", total=MOSES_ROWS if located.pinned else None)


def sample_smiles(
    path: str | Path, n: int | None = None, seed: int = 0, smiles_column: str = "smiles", total: int | None = None
) -> list[str]:
    """`n` SMILES of a file (None = all), drawn without replacement by `seed`, in file order.

    A table (CSV, TSV, JSON; plain or packed) needs a header with `smiles_column` (case aside); in any other text file
    the first word of each line is the SMILES. `total` is the number of rows where known.

    Raises:
        UserError: file missing or broken, no such column, `n` below 1 or above the number of rows.
    """
    opened = read_text(path)
    if n is None:
        found = list(_smiles(opened, smiles_column))
        if not found:
            raise UserError(
                f"{opened.path} holds no molecule.",
                f"Give one SMILES a line, or a table with a column {smiles_column!r}.",
            )
        return found
    if total is None:
        total = sum(1 for _ in _smiles(opened, smiles_column))
    if not 1 <= n <= total:
        raise UserError(f"{n} molecules were asked for; {opened.path} has {total}.", f"Ask for 1 to {total}.")
    chosen = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(total)[:n]] = True
    return [smiles for smiles, wanted in zip(_smiles(opened, smiles_column), chosen, strict=False) if wanted]


def _smiles(opened: Opened, smiles_column: str) -> Iterator[str]:
    if is_json(opened):
        table = read_objects(opened)
        header, rows = table.header, iter(table.rows)
    elif opened.name.endswith((".csv", ".tsv", ".tab")):
        header, numbered = iterate_delimited(opened)
        rows = (cells for _, cells in numbered)
    else:
        yield from (tidy(words[0]) for words in map(str.split, opened.lines()) if words)
        return
    folded = [name.casefold() for name in header]
    if smiles_column.casefold() not in folded:
        raise UserError(
            f"{opened.path} has no column {smiles_column!r}.", f"Its columns are: {listed(header) or 'none'}."
        )
    place = folded.index(smiles_column.casefold())
    yield from filter(None, (tidy(cells[place]) for cells in rows))
