"""What was computed once and is kept in the cache: each file with its SHA-256 beside it, made anew where they differ.

A flipped bit in a featurised molecule changes a score without a word, so no file is believed by its name alone.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hpo_bench.data.cache import cache_dir
from hpo_bench.records.files import write_whole

T = TypeVar("T")


def kept(folder: str, name: str, compute: Callable[[], T], dump: Callable[[T], bytes], load: Callable[[bytes], T]) -> T:
    """`compute()`, or what it gave before under the same folder and name; `dump` and `load` make bytes of it and back.

    A file that is damaged or cannot be read is made again, one that cannot be written costs a warning: the cache never
    stops a run.
    """
    path = cache_dir() / folder / name
    content = _read(path)
    if content is not None:
        try:
            return load(content)
        except Exception as error:  # whole, but of another layout or not ours
            warnings.warn(f"unreadable cache file {path} ({error}); computing it again", stacklevel=2)
    value = compute()
    _write(path, dump(value))
    return value


def digest_path(path: Path) -> Path:
    """Where the SHA-256 of a kept file lies."""
    return path.with_name(f"{path.name}.sha256")


def _read(path: Path) -> bytes | None:
    """The file's bytes, or None where there are none that can be believed."""
    try:
        content, expected = path.read_bytes(), digest_path(path).read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        warnings.warn(f"unreadable cache file {path} ({error}); computing it again", stacklevel=3)
        return None
    if hashlib.sha256(content).hexdigest() != expected:
        warnings.warn(f"damaged cache file {path} (its SHA-256 is another one); computing it again", stacklevel=3)
        return None
    return content


def _write(path: Path, content: bytes) -> None:
    """The file, then its digest, each whole; killed in between, they do not fit and are made again."""
    try:
        write_whole(path, content)
        write_whole(digest_path(path), hashlib.sha256(content).hexdigest().encode())
    except OSError as error:
        warnings.warn(f"nothing can be kept in {path.parent}: {error.strerror or error}", stacklevel=3)
