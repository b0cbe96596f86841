"""Featurising a list of SMILES in parallel, and keeping the result on disk under a key of its content."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpo_bench.cores import share_of_cores
from hpo_bench.data.cache import cache_dir
from hpo_bench.data.processes import in_processes
from hpo_bench.tasks.molecule.featurise import FEATURISER_VERSION, MoleculeArrays, featurise_chunk
from hpo_bench.tasks.molecule.targets import TARGET_KINDS, descriptor_names, motif_names

_LAYOUT = 2  # part of the cache key: raise it when the same features are stored in another order
_CHUNK = 250
_PARALLEL_FROM = 500  # below this a pool costs more than it saves


def content_key(smiles: Sequence[str], kinds: Sequence[str] = tuple(TARGET_KINDS)) -> str:
    """SHA-256 of the SMILES list, the kinds and names of the targets, the versions of featuriser and RDKit."""
    from rdkit import rdBase

    names = [*kinds, *motif_names(), *descriptor_names()]
    digest = hashlib.sha256(
        f"{FEATURISER_VERSION}|{_LAYOUT}|{rdBase.rdkitVersion}|{','.join(names)}|{len(smiles)}\n".encode()
    )
    digest.update("\n".join(smiles).encode())
    return digest.hexdigest()


def featurise(
    smiles: Sequence[str],
    kinds: Sequence[str] = tuple(TARGET_KINDS),
    *,
    workers: int | None = None,
    use_cache: bool = True,
) -> MoleculeArrays:
    """Features and targets of all molecules, from the cache if they are there.

    `workers` defaults to `share_of_cores()`. A progress bar is shown on a terminal.
    Raises ValueError, naming the row, for a SMILES that RDKit rejects.
    """
    smiles, kinds = list(smiles), tuple(kind for kind in TARGET_KINDS if kind in kinds)
    path = cache_dir() / "molecules" / f"{content_key(smiles, kinds)}.safetensors"
    if use_cache and (stored := _read(path)) is not None:
        return stored
    arrays = _compute(smiles, kinds, workers or share_of_cores())
    if use_cache:
        _write(path, arrays)
    return arrays


def _compute(smiles: list[str], kinds: tuple[str, ...], workers: int) -> MoleculeArrays:
    if not smiles:
        return featurise_chunk([], kinds=kinds)
    import rdkit.Chem.Fragments
    import rdkit.Chem.rdMolDescriptors  # noqa: F401  (before processes are forked)

    jobs = [(smiles[start : start + _CHUNK], start, kinds) for start in range(0, len(smiles), _CHUNK)]
    workers = workers if len(smiles) >= _PARALLEL_FROM else 1
    return MoleculeArrays.concatenate(list(in_processes(_run, jobs, workers, "Featurising molecules")))


def _run(job: tuple[list[str], int, tuple[str, ...]]) -> MoleculeArrays:
    return featurise_chunk(*job)


def _read(path: Path) -> MoleculeArrays | None:
    """The cached arrays, or None if there are none or they cannot be read (they are then computed again)."""
    from safetensors.numpy import load_file

    if not path.exists():
        return None
    try:
        arrays = MoleculeArrays(**load_file(path))
    except Exception as error:  # a torn or foreign file must never stop a run
        warnings.warn(f"unreadable cache file {path} ({error}); computing it again", stacklevel=2)
        return None
    return arrays if int(arrays.atom_counts.sum()) == len(arrays.atoms) else None


def _write(path: Path, arrays: MoleculeArrays) -> None:
    """Write aside and rename; a folder that cannot be written to costs a warning only."""
    from safetensors.numpy import save_file

    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.as_dict().items()}, aside)
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        warnings.warn(f"cannot cache featurised molecules in {path.parent}: {error}", stacklevel=2)
