"""A folder in the system's temporary folder that outlives a kill, and is removed by the next run all the same.

A note in the workspace names it. The note is read as what it is, a file that anybody may have written: only a folder
that this program can have made is removed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hpo_bench.errors import UserError
from hpo_bench.records.files import read_bytes, write_whole

PREFIX = "hb-ray-"
NOTE = "ray-session"
_NAME = re.compile(PREFIX + r"[a-z0-9_]{8}")  # as `mkdtemp` makes them
_SHORT = Path("/tmp")
LONGEST = 39  # characters: Ray's sockets are 64 longer, and a socket's path holds 107, on macOS 103
_ENDED_IN = 30.0  # seconds that what was killed may take to be gone, on a busy machine
_held: dict[Path, FileLock] = {}  # as long as a process holds it, its folder is nobody else's to remove


def make(workspace: Path) -> Path:
    """A new scratch folder whose path is short enough for sockets; `workspace/ray-session` names it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    _held[folder] = FileLock(folder / ".lock")
    _held[folder].acquire()
    write_whole(workspace / NOTE, str(folder).encode())
    return folder


def remove(workspace: Path, folder: Path) -> None:
    """Remove a scratch folder that `make` gave to this process, and its note."""
    _held.pop(folder).release()
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    (workspace / NOTE).unlink(missing_ok=True)


def clear(workspace: Path) -> None:
    """Remove the scratch folder that a killed process left, what still runs in it, and the note.

    A folder whose process is alive stays: the note came with a copy of its run folder.
    """
    note = workspace / NOTE
    if workspace.is_symlink() or not os.path.lexists(note):
        return
    try:
        folder = ours(read_bytes(note).decode("utf-8", "replace"))
    except (UserError, FileNotFoundError):
        folder = None
    if folder is not None and not _alive(folder):
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
    if note.is_symlink() or not note.is_dir():
        note.unlink(missing_ok=True)


def _alive(folder: Path) -> bool:
    lock = folder / ".lock"
    if lock.is_symlink():
        return True
    try:
        FileLock(lock).acquire(timeout=0).lock.release()
    except (Timeout, OSError):
        return True
    return False


def ours(text: str) -> Path | None:
    """The folder at the path `text`, if this program made it.

    That is: directly in the temporary folder, named as we name them, this user's, and no link.
    """
    folder = Path(text)
    places = {os.path.realpath(place) for place in (tempfile.gettempdir(), _SHORT)}
    if not _NAME.fullmatch(folder.name) or text != str(folder) or os.path.realpath(folder.parent) not in places:
        return None
    try:
        found = folder.lstat()
    except (OSError, ValueError):
        return None
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return folder if stat.S_ISDIR(found.st_mode) and own else None


def _place() -> str | None:
    """The system's temporary folder, or /tmp where its path is too long for a socket."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) + 1 + len(PREFIX) + 8 > LONGEST and os.access(_SHORT, os.W_OK | os.X_OK):
        return str(_SHORT)
    return usual


def end_processes(folder: Path) -> None:
    """End what this user's Ray runs in a folder, and wait until it has ended: who still writes there would keep it."""
    end = time.monotonic() + _ENDED_IN
    while (found := _rays(folder)) and time.monotonic() < end:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def _rays(folder: Path) -> list[int]:
    """Ray's processes of a folder; its agents outlive a killed daemon by a minute.

    Daemons have it among their arguments; agents and workers write a title over those, and have their logs open in it.
    """
    named, inside = re.compile(re.escape(os.fsencode(folder)) + rb"[/\0]"), f"{os.path.realpath(folder)}/"
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            words = (entry / "cmdline").read_bytes()
            if words.startswith(b"ray::"):
                here = any(opened.startswith(inside) for opened in _open_files(entry))
            else:
                here = b"/ray/" in words and named.search(words) is not None
            if here and entry.stat().st_uid == os.getuid() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def _open_files(entry: Path) -> Iterator[str]:
    for number in (entry / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(number)
