"""A run's folder as a value: what changed in it is taken along, and written down elsewhere.

Machines of a cluster need no common folder: a run's process works in a folder of its machine, and the study's process
alone writes the records. What it is given is always a state that the folder was in at one moment.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from hpo_bench.records.files import own_folder, read_bytes, write_whole

_NOT_RECORDS = re.compile(r"(.*/)?(\.[^/]*|ray-session)")  # locks, half-written files, names of a machine's folders
_LAST = ("run.json",)  # it says `done`
_ATTEMPTS = 20  # to see the folder between two changes


@dataclass(frozen=True)
class Parcel:
    """Files that are new or changed, by path in the folder, and the paths of all that are there."""

    changed: dict[str, bytes] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


class Packer:
    """Takes along what changed since the last time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[int, int, int]] = {}

    def pack(self) -> Parcel | None:
        """What changed; None if nothing did, or if the folder does not keep still long enough to be read."""
        for _ in range(_ATTEMPTS):
            now = self._look()
            if now == self._seen:
                return None
            changed = {}
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(now):
                    if self._seen.get(name) != now[name]:
                        changed[name] = read_bytes(self._folder / name)
                if self._look() == now:
                    self._seen = now
                    return Parcel(changed, frozenset(now))
        return None

    def _look(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder).as_posix()
            with contextlib.suppress(FileNotFoundError):
                if not _NOT_RECORDS.fullmatch(name) and path.is_file() and not path.is_symlink():
                    stat = path.stat()
                    found[name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return found


def unpack(folder: Path, parcel: Parcel) -> None:
    """Bring a folder to the state of a parcel: lines before checkpoints, which a search rewinds to, run.json last."""
    for name in sorted(parcel.changed, key=lambda name: (name in _LAST, not name.endswith(".jsonl"), name)):
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents):
            own_folder(folder / parent)
        write_whole(path, parcel.changed[name])
    for path in [*folder.rglob("*")]:
        name = path.relative_to(folder).as_posix()
        if name not in parcel.names and not _NOT_RECORDS.fullmatch(name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)
