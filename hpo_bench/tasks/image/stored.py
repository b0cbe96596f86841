"""An array on disk under a key of what it was computed from."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable

import numpy as np

from hpo_bench.data.cache import cache_dir


def stored(folder: str, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """`compute()`, or what it gave before under the same key.

    The file is compressed (drawings are mostly paper: about a fiftieth of their size) and appears whole or not at all.
    One that cannot be read is made again, one that cannot be written costs a warning.
    """
    path = cache_dir() / folder / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file["array"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"unreadable cache file {path} ({error}); computing it again", stacklevel=2)
    array = compute()
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as stream:
            np.savez_compressed(stream, array=array)
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        warnings.warn(f"cannot cache {folder} in {path.parent}: {error}", stacklevel=2)
    return array
