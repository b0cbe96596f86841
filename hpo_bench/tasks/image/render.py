"""From SMILES to drawings: RDKit's picture of each molecule, as ImageMol draws it (Zeng et al. 2022, Methods)."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_bench.core.cores import share_of_cores
from hpo_bench.data.processes import in_processes
from hpo_bench.errors import UserError
from hpo_bench.tasks.image.stored import stored

PUBLISHED_SIZE = 224
SMALLEST, LARGEST = 32, 512  # ResNet-18 halves an image five times
_RENDERER_VERSION = 1  # part of the cache key: raise it when a drawing changes
_CHUNK = 100
_PARALLEL_FROM = 200  # below this a pool costs more than it saves


def check_size(size: object) -> int:
    """A side in pixels.

    Raises:
        UserError: not a whole number from 32 to 512.
    """
    if not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise UserError(f"image_size is {size!r}", f"give a whole number from {SMALLEST} to {LARGEST}, say 64 or 224")
    return size


def render(smiles: Sequence[str], size: int = PUBLISHED_SIZE, *, workers: int | None = None) -> np.ndarray:
    """Drawings (M, 3, size, size) uint8, from the cache if they are there.

    `workers` defaults to `share_of_cores()`. A progress bar is shown on a terminal.

    Raises:
        ValueError: RDKit rejects a SMILES; its row is named.
    """
    smiles = list(smiles)
    return stored("images", content_key(smiles, size), lambda: _render(smiles, size, workers or share_of_cores()))


def content_key(smiles: Sequence[str], size: int) -> str:
    """SHA-256 of the SMILES list, the size, the renderer's version and RDKit's."""
    from rdkit import rdBase

    digest = hashlib.sha256(f"{_RENDERER_VERSION}|{rdBase.rdkitVersion}|{size}|{len(smiles)}\n".encode())
    digest.update("\n".join(smiles).encode())
    return digest.hexdigest()


def render_chunk(smiles: Sequence[str], size: int, first_row: int = 0) -> np.ndarray:
    """Drawings (M, 3, size, size) uint8, made in this process."""
    from rdkit import rdBase

    from hpo_bench.tasks.molecule.featurise import parse

    draw = _load_drawing()
    quiet = rdBase.BlockLogs()
    pictures = np.empty((len(smiles), 3, size, size), np.uint8)
    for row, text in enumerate(smiles):
        grid = draw.MolsToGridImage([parse(text, first_row + row)], molsPerRow=1, subImgSize=(size, size))
        pictures[row] = np.asarray(grid.convert("RGB")).transpose(2, 0, 1)
    del quiet
    return pictures


def _render(smiles: list[str], size: int, workers: int) -> np.ndarray:
    _load_drawing()  # before processes are forked
    jobs = [(smiles[start : start + _CHUNK], size, start) for start in range(0, len(smiles), _CHUNK)]
    pictures = np.empty((len(smiles), 3, size, size), np.uint8)
    workers = workers if len(smiles) >= _PARALLEL_FROM else 1
    parts = in_processes(_run, jobs, workers, "Drawing molecules")
    for (_, _, start), part in zip(jobs, parts, strict=True):
        pictures[start : start + len(part)] = part
    return pictures


def _load_drawing() -> Any:
    """RDKit's drawing module.

    Raises:
        UserError: it needs a library that a bare container lacks.
    """
    try:
        return importlib.import_module("rdkit.Chem.Draw")
    except ImportError as error:
        raise UserError(
            f"RDKit cannot draw on this machine: {error}.",
            "Install what it names (Debian and Ubuntu: apt-get install libxrender1 libxext6 libexpat1), or take "
            "--encoder gin, which draws nothing.",
        ) from error


def _run(job: tuple[list[str], int, int]) -> np.ndarray:
    return render_chunk(*job)
