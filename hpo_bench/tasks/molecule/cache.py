"""Featurising a list of SMILES in parallel, and keeping the result on disk under a key of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from hpo_bench.core.cores import share_of_cores
from hpo_bench.data.kept import kept
from hpo_bench.data.processes import in_processes
from hpo_bench.tasks.molecule.featurise import FEATURISER_VERSION, MoleculeArrays, featurise_chunk
from hpo_bench.tasks.molecule.targets import TARGET_KINDS, descriptor_names, motif_names

_LAYOUT = 3  # part of the cache key: raise it when the same features are stored in another order
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
    """Features of all molecules and their targets of some kinds, from the cache if they are there.

    RDKit computes everything, molecule by molecule, about 1 ms each with all targets; processes share the work.

    `workers` defaults to `share_of_cores()`. A progress bar is shown on a terminal.

    Raises:
        ValueError: RDKit rejects a SMILES; its row is named.
    """
    smiles, kinds = list(smiles), tuple(kind for kind in TARGET_KINDS if kind in kinds)

    def compute() -> MoleculeArrays:
        return _compute(smiles, kinds, workers or share_of_cores())

    if not use_cache:
        return compute()
    return kept("molecules", f"{content_key(smiles, kinds)}.safetensors", compute, _dump, _load)


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


def _dump(arrays: MoleculeArrays) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.as_dict().items()})


def _load(content: bytes) -> MoleculeArrays:
    from safetensors.numpy import load

    return MoleculeArrays(**load(content))
