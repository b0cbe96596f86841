"""What RDKit found for a list of SMILES, kept in the cache under a key of its content."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpo_bench.data.cache import cache_dir

FROM = 1000  # below this finding it again costs less than a file


def remembered(kind: str, smiles: Sequence[str], find: Callable[[], list[Any]]) -> list[Any]:
    """`find()`, one JSON value a SMILES, or what it gave before for the same strings under the same RDKit.

    Tuples come back as lists from a second call. A file that cannot be read is made again, one that cannot be written
    costs a warning.
    """
    if len(smiles) < FROM:
        return find()
    path = cache_dir() / "molecules" / f"{kind}-{_key(smiles)}.json"
    stored = _read(path)
    if stored is not None and len(stored) == len(smiles):
        return stored
    found = find()
    _write(path, found)
    return found


def _key(smiles: Sequence[str]) -> str:
    from rdkit import rdBase

    digest = hashlib.sha256(f"{rdBase.rdkitVersion}\n".encode())
    digest.update("\n".join(smiles).encode())
    return digest.hexdigest()


def _read(path: Path) -> list[Any] | None:
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, list) else None


def _write(path: Path, found: list[Any]) -> None:
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        warnings.warn(f"cannot keep parsed molecules in {path.parent}: {error}", stacklevel=3)
