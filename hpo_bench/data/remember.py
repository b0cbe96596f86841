"""What RDKit found for a list of SMILES, kept in the cache under a key of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from hpo_bench.data.kept import kept

FROM = 1000  # below this finding it again costs less than a file
_VERSION = 2  # part of the key: raise it when something else is found for the same strings


def remembered(kind: str, smiles: Sequence[str], find: Callable[[], list[Any]]) -> list[Any]:
    """`find()`, one JSON value a SMILES, or what it gave before for the same strings under the same RDKit.

    Tuples come back as lists from a second call.
    """
    if len(smiles) < FROM:
        return find()
    return kept("molecules", f"{kind}-{_key(smiles)}.json", find, _dump, json.loads)


def _key(smiles: Sequence[str]) -> str:
    from rdkit import rdBase

    digest = hashlib.sha256(f"{_VERSION}|{rdBase.rdkitVersion}\n".encode())
    digest.update("\n".join(smiles).encode())
    return digest.hexdigest()


def _dump(found: list[Any]) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()
