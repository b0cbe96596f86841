"""Files of records: written whole, read with care, removed only where this program made them. Nothing here needs torch.

A run folder may come from somebody else. What lies in it is therefore read as data: a link is never written or removed
through, a pipe or a device is not read, and JSON that no person wrote ends in a sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpo_bench.errors import UserError

MOVE_AWAY = "move the folder away, then run it again"
_ASIDE = re.compile(r"\.[^/]+\.\d+\.tmp")  # as `write_whole` names them


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write aside, flush to disk if `durable`, rename: a reader sees the old file or the new. A link is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name aside tells a user nothing
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def write_changed(path: Path, content: bytes) -> Path:
    """Write what is made of records, unless the file holds it: it can be shown again where nothing can be written."""
    if not path.is_file() or path.is_symlink() or path.read_bytes() != content:
        write_whole(path, content, durable=False)
    return path


def append_line(path: Path, line: dict[str, Any], *, durable: bool = True) -> None:
    """Append one JSON line; `durable` waits until it is on disk.

    Raises:
        UserError: `path` is a link or no regular file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a regular file", MOVE_AWAY)
    with open(os.open(path, flags, 0o666), "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        if durable:
            os.fsync(file.fileno())


def without_nan(value: Any) -> Any:
    """Plain values with None for NaN and infinities, as JSON has it."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_bytes(path: Path, last: int | None = None) -> bytes:
    """A regular file's bytes, or its `last` ones alone; a link to one is followed.

    Raises:
        FileNotFoundError: there is none.
        UserError: a folder, a pipe or a device, or the system refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for a writer
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{path} cannot be read: it is no regular file", MOVE_AWAY)
            if last is not None:
                file.seek(max(0, found.st_size - last))
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", MOVE_AWAY) from error


def files_of(options: dict[str, Any]) -> dict[str, str]:
    """SHA-256 in hex of every file that an option names, by the option.

    So a change is noticed without parsing the files.
    """
    found = {}
    for name, value in sorted(options.items()):
        if isinstance(value, str) and Path(value).is_file():
            with open(value, "rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def parse(text: bytes, where: str) -> Any:
    """The JSON value of UTF-8 text; `where` names it in an error.

    Raises:
        UserError: not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=no_key_twice)
    except RecursionError as error:
        raise UserError(f"{where} cannot be read: its brackets are nested too deeply", MOVE_AWAY) from error
    except ValueError as error:  # a UnicodeDecodeError is one
        reason = "it is empty" if not text.strip() else error
        raise UserError(f"{where} cannot be read: {reason}", MOVE_AWAY) from error


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON (`object_pairs_hook`).

    Raises:
        ValueError: a key that is there twice: the last would win.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read, or holds something else; the file is named.
    """
    value = parse(read_bytes(path), str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path} cannot be read: it holds no JSON object", MOVE_AWAY)
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a file with a JSON object a line, none if there is no file.

    A last line without its end was cut short by a kill and is left out.

    Raises:
        UserError: a whole line that is something else; file and line are named.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return []
    lines = []
    for number, text in enumerate(content.split(b"\n")[:-1], start=1):
        where = f"{path}, line {number},"
        value = parse(text, where)
        if not isinstance(value, dict):
            raise UserError(f"{where} cannot be read: it holds no JSON object", MOVE_AWAY)
        lines.append(value)
    return lines


def is_torn(path: Path) -> bool:
    """Was the last line of a file cut short? Of no file, no."""
    try:
        return read_bytes(path, last=1) not in (b"", b"\n")
    except FileNotFoundError:
        return False


def drop_torn_line(path: Path) -> None:
    """Remove what stands behind the last line's end: a kill cut it short."""
    if is_torn(path):
        content = read_bytes(path)
        write_whole(path, content[: content.rfind(b"\n") + 1])


def own_folder(path: Path) -> Path:
    """The folder at `path`, made if need be, and certainly not another one behind a link.

    Raises:
        UserError: it is a link or a file: what is written and removed there might be somebody's.
    """
    check_own(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_own(path: Path) -> None:
    """Raise UserError where something else than a folder is at `path`, as `own_folder` does."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(
            f"{path} is {'a link' if path.is_symlink() else 'no folder'}: files would be written and removed there",
            "put a folder in its place, or give another --out",
        )


def remove_files(folder: Path, name: str) -> None:
    """Remove the files in `folder` whose whole name matches the pattern `name`; nothing in a folder behind a link."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if re.fullmatch(name, entry.name) and (entry.is_symlink() or entry.is_file()):
            entry.unlink(missing_ok=True)  # of a link the link alone


def sweep(folder: Path) -> None:
    """Remove half-written files that a kill left."""
    remove_files(folder, _ASIDE.pattern)


@contextmanager
def locked(path: Path, timeout: float = 0) -> Iterator[None]:
    """Hold the lock file at `path`; the lock of a process that was killed is free.

    Raises:
        filelock.Timeout: somebody else has it for longer than `timeout` seconds.
        UserError: `path` is a link: locking empties the file.
    """
    from filelock import FileLock

    if path.is_symlink():
        raise UserError(f"{path} is a link, and a lock empties the file behind it", "remove the link")
    with FileLock(path).acquire(timeout=timeout):
        yield
