"""SMILES through RDKit: which ones parse, and their Bemis-Murcko scaffolds. RDKit's own log is silenced meanwhile.

What was found for a large set is remembered in the cache, so that a second start does not parse it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from hpo_bench.data.processes import in_processes
from hpo_bench.data.remember import remembered
from hpo_bench.errors import UserError

PARALLEL_FROM = 2000  # below this processes cost more than they save
_CHUNK = 500

T = TypeVar("T")


@dataclass(frozen=True)
class ParsedSmiles:
    """`kept` (M,) int64 rows that parse, ascending; `skipped` the others as (row, SMILES), rows counted from 0.

    Of the kept ones: `canonical` (M,) SMILES, equal for equal molecules, and `atoms` (M,) int64, atoms of the graph.
    """

    kept: np.ndarray
    skipped: list[tuple[int, str]]
    canonical: list[str]
    atoms: np.ndarray


def parse_smiles(smiles: Sequence[str], workers: int = 1) -> ParsedSmiles:
    """Try every SMILES; one that RDKit rejects, or that holds no atom, is skipped and listed.

    With `workers` > 1 and many molecules, processes share the work (see `scaffolds`).

    Raises:
        UserError: no SMILES parses.
    """
    found = remembered("parsed-ascii", smiles, lambda: _spread(_parsed, smiles, workers, "Parsing molecules"))
    good = [row for row, molecule in enumerate(found) if molecule is not None]
    if not good:
        sample = ", ".join(repr(text) for text in list(smiles)[:3])
        remedy = "Is the right column named with --smiles?"
        if smiles[0].startswith("InChI="):
            remedy = "These are InChI: turn them into SMILES, or name the column of SMILES with --smiles."
        elif ">" in smiles[0]:
            remedy = "These are reactions: give one molecule a row."
        raise UserError(f"None of the {len(smiles)} SMILES can be parsed by RDKit, for example {sample}.", remedy)
    return ParsedSmiles(
        np.asarray(good, dtype=np.int64),
        [(row, smiles[row]) for row, molecule in enumerate(found) if molecule is None],
        [found[row][0] for row in good],
        np.asarray([found[row][1] for row in good], dtype=np.int64),
    )


def scaffolds(smiles: Sequence[str], include_chirality: bool = False, workers: int = 1) -> list[str]:
    """The Bemis-Murcko scaffold of each molecule as canonical SMILES, "" for one without rings.

    About 0.4 ms a molecule. With `workers` > 1 and many molecules, that many processes share the work (see
    `in_processes`).

    Raises:
        UserError: a SMILES that does not parse: drop those first with `parse_smiles`.
    """
    work = partial(_scaffolds, include_chirality=include_chirality)
    kind = "chiral-scaffolds" if include_chirality else "scaffolds"
    found = remembered(kind, smiles, lambda: _spread(work, smiles, workers, "Finding scaffolds"))
    for row, scaffold in enumerate(found):
        if scaffold is None:
            raise UserError(f"SMILES {smiles[row]!r} (row {row}) cannot be parsed by RDKit.", "Drop it from the file.")
    return [scaffold for scaffold in found if scaffold is not None]


@contextmanager
def silent_rdkit() -> Iterator[None]:
    """Keep RDKit from writing its parse errors to stderr."""
    from rdkit import rdBase

    blocker = rdBase.BlockLogs()
    try:
        yield
    finally:
        del blocker


def _spread(work: Callable[[Sequence[str]], list[T]], smiles: Sequence[str], workers: int, description: str) -> list[T]:
    import rdkit.Chem.Scaffolds.MurckoScaffold  # noqa: F401  (before processes are forked)

    chunks = [smiles[start : start + _CHUNK] for start in range(0, len(smiles), _CHUNK)]
    workers = workers if len(smiles) >= PARALLEL_FROM else 1
    return [result for part in in_processes(work, chunks, workers, description) for result in part]


_ATOM_MAP = re.compile(r"(\[[^\[\]:]*):\d+\]", re.ASCII)


def without_atom_maps(smiles: str) -> str:
    """`[CH3:1][OH:2]` as `[CH3][OH]`: numbers that follow atoms through a reaction are no part of the molecule."""
    return _ATOM_MAP.sub(r"\1]", smiles) if ":" in smiles else smiles


def count_atom_maps(smiles: Sequence[str]) -> int:
    """How many SMILES carry atom-map numbers."""
    return sum(":" in text and _ATOM_MAP.search(text) is not None for text in smiles)


def molecule_of(smiles: str) -> Any:
    """RDKit's molecule without atom-map numbers; None where it is none.

    RDKit drops letters beyond ASCII at the ends: "CCО" with a Cyrillic О would be ethane.
    """
    from rdkit import Chem

    return Chem.MolFromSmiles(without_atom_maps(smiles)) if smiles.isascii() else None


_BLANK = re.compile(r"[ \t\r\n]")


def rows_with_blank(smiles: Sequence[str]) -> list[int]:
    """Rows whose SMILES holds a blank: RDKit takes what follows for the molecule's name, so `C C O` is methane."""
    return [row for row, text in enumerate(smiles) if _BLANK.search(text.strip())]


def _parsed(smiles: Sequence[str]) -> list[tuple[str, int] | None]:
    """Canonical SMILES and number of atoms of each; None where RDKit rejects it or it holds no atom."""
    from rdkit import Chem

    with silent_rdkit():
        molecules = map(molecule_of, smiles)
        return [None if m is None or not m.GetNumAtoms() else (Chem.MolToSmiles(m), m.GetNumAtoms()) for m in molecules]


def _scaffolds(smiles: Sequence[str], include_chirality: bool) -> list[str | None]:
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    found: list[str | None] = []
    with silent_rdkit():
        for text in smiles:
            molecule = molecule_of(text)
            if molecule is None:
                found.append(None)
            else:
                found.append(MurckoScaffoldSmiles(mol=molecule, includeChirality=include_chirality))  # type: ignore[no-untyped-call]
    return found
