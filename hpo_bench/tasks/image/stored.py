"""An array on disk under a key of what it was computed from."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from hpo_bench.data.kept import kept


def stored(folder: str, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """`compute()`, or what it gave before under the same key.

    The file is compressed: drawings are mostly paper, and it takes about a fiftieth of their size.
    """
    return kept(folder, f"{key}.npz", compute, _dump, _load)


def _dump(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, array=array)
    return stream.getvalue()


def _load(content: bytes) -> np.ndarray:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return np.asarray(file["array"])
