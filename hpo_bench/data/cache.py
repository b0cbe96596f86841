"""The user's cache: whole files or none, one writer at a time, every file with a note of where it came from.

Layout: `<cache>/<folder>/<name>.csv[.gz]`, beside each file `<file>.origin.json` (its SHA-256 and where it came from).
The cache is itself a valid `--data-dir`, so it can be copied to a machine without a network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hpo_bench.data.catalogue import SourceFile
from hpo_bench.errors import UserError
from hpo_bench.records.files import write_whole

logger = logging.getLogger("hpo_bench.data")

LOCK_SECONDS = 1800.0
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Origin:
    """Where a cached file came from (`provider`, `detail`) and its SHA-256 as it was stored."""

    provider: str
    detail: str
    sha256: str


def cache_dir() -> Path:
    """The cache's root: `HPO_BENCH_CACHE`, or the platform's cache folder for hpo_bench. Nothing is created."""
    override = os.environ.get("HPO_BENCH_CACHE")
    if override:
        return Path(override).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("hpo_bench", appauthor=False))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_named(root: Path, file: SourceFile) -> Path | None:
    """The file under any of its names, plain or `.gz`, in `root/<folder>` or `root`; case is ignored."""
    for folder in (root / file.folder, root):
        if not folder.is_dir():
            continue
        present = {entry.name.casefold(): entry for entry in sorted(folder.iterdir())}
        for filename in file.filenames:
            for candidate in (filename, f"{filename}.gz"):
                path = present.get(candidate.casefold())
                if path is not None and path.is_file():
                    return path
    return None


def read_origin(path: Path) -> Origin | None:
    """The note beside a cached file; None where there is none that can be read."""
    try:
        return Origin(**json.loads(_note(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_intact(path: Path, file: SourceFile) -> bool:
    """Is a cached file what it should be: a pinned copy, or unchanged since it came from an unpinned source?"""
    digest = sha256_of(path)
    if digest in file.genuine:
        return True
    origin = read_origin(path)
    return origin is not None and origin.provider == "moleculenet" and origin.sha256 == digest


def store(content: bytes, file: SourceFile, provider: str, detail: str) -> Path:
    """Put a file into the cache, so that it appears whole or not at all; returns its path.

    Raises:
        UserError: the cache cannot be written.
    """
    suffix = ".csv.gz" if content.startswith(GZIP_MAGIC) else ".csv"
    path = cache_dir() / file.folder / f"{file.name}{suffix}"
    origin = Origin(provider, detail, hashlib.sha256(content).hexdigest())
    try:
        write_whole(_note(path), json.dumps(asdict(origin), indent=2).encode())
        write_whole(path, content)
    except OSError as error:
        raise _unwritable(error) from error
    return path


def set_aside(path: Path) -> Path:
    """Move a corrupt file out of the way, keeping it for a look; returns where it lies now."""
    target = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    try:
        os.replace(path, target)
        _note(path).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(error) from error
    logger.warning("%s is corrupt (its SHA-256 is not the expected one); moved to %s", path, target.name)
    return target


@contextmanager
def locked(file: SourceFile) -> Iterator[None]:
    """One process at a time for one file of the cache.

    Raises:
        UserError: the lock cannot be had.
    """
    from filelock import FileLock, Timeout

    folder = cache_dir() / "locks"
    lock = FileLock(folder / f"{file.name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise UserError(
            f"Another process has been fetching {file.name!r} for {LOCK_SECONDS / 60:.0f} minutes.",
            f"If none is running, delete {lock.lock_file} and try again.",
        ) from error
    except OSError as error:
        raise _unwritable(error) from error
    try:
        yield
    finally:
        lock.release()


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.origin.json")


def _unwritable(error: OSError) -> UserError:
    return UserError(
        f"The cache {cache_dir()} cannot be used: {error}.",
        "Set HPO_BENCH_CACHE to a folder that you can write to, or pass --data-dir with the files in it.",
    )
