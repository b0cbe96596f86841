"""One SHA-256 over strings and arrays: two runs with the same one saw the same content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def digest_of(*parts: Sequence[str] | np.ndarray) -> str:
    """SHA-256 in hex over lists of strings and arrays of numbers.

    Lengths, shapes and types go in before the content, so that no two different lists run together to the same bytes;
    numbers are little-endian, so that every machine finds the same.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            plain = np.ascontiguousarray(part.astype(part.dtype.newbyteorder("<")))
            digest.update(f"array {plain.dtype.str} {plain.shape}\n".encode())
            digest.update(plain.tobytes())
        else:
            digest.update(f"strings {len(part)}\n".encode())
            for text in part:
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
