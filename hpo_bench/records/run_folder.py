"""One folder a run: opened under a lock, for one configuration, with an explicit status."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from hpo_bench.core.checkpoint import write_whole
from hpo_bench.errors import UserError
from hpo_bench.records.journal import append_line, read_lines

SCHEMA = 1
_DISK_REFUSES = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EFBIG", "ENOTDIR", "EISDIR")
    if hasattr(errno, name)
}
Status = Literal["running", "done", "failed", "diverged", "over-budget"]


@dataclass
class RunFolder:
    """run.json and tests.jsonl of one run; `content` is run.json as it stands."""

    folder: Path
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        return self.content["status"]

    @property
    def tests(self) -> list[dict[str, Any]]:
        """Retrainings whose test score was read, in order."""
        return read_lines(self.folder / "tests.jsonl")

    def record_test(self, line: dict[str, Any]) -> None:
        """Append a retraining with its test score; it is never read again."""
        append_line(self.folder / "tests.jsonl", line)

    def update(self, **changes: Any) -> None:
        """Change run.json; the file is replaced whole."""
        self.content |= changes
        write_whole(self.folder / "run.json", (json.dumps(self.content, indent=1) + "\n").encode())

    def finish(self, status: Status, error: str | None = None, **changes: Any) -> None:
        """Set the final status."""
        self.update(status=status, error=error, ended=now(), **changes)


def now() -> str:
    """The time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def open_run(folder: Path, identity: dict[str, Any]) -> Iterator[RunFolder]:
    """Lock a run folder and read or start its record.

    `identity` (method, task, seed, config) must equal that of the run which the folder already holds.

    Raises:
        UserError: the folder can't be written (also later, inside the block), is in use by another process, or holds
            another configuration.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        remedy = "wait for it, or give this one another --out"
        raise UserError(f"another process is running in {folder}", remedy) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        _sweep(folder)
        yield _read_or_start(folder, identity)
    except OSError as error:
        if error.errno in _DISK_REFUSES:
            raise unwritable(folder, error) from error
        raise
    finally:
        lock.release()


def unwritable(path: Path, error: OSError) -> UserError:
    """What to tell a user whose disk refuses."""
    remedy = "choose a folder that you can write to with --out"
    if error.errno == errno.ENOSPC:
        remedy = "free some space and run the same command again: what was recorded is kept"
    return UserError(f"cannot write {path}: {error.strerror or error}", remedy)


def _read_or_start(folder: Path, identity: dict[str, Any]) -> RunFolder:
    path = folder / "run.json"
    if not path.exists():
        orphans = [name for name in ("trials.jsonl", "tests.jsonl", "bill.json") if (folder / name).exists()]
        if orphans:
            message = f"{folder} holds {', '.join(orphans)} and no run.json that says of which run"
            raise UserError(message, f"give another --out, or move {folder} away")
        run = RunFolder(folder)
        run.update(schema=SCHEMA, status="running", error=None, started=now(), ended=None, sessions=0, **identity)
        return run
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, IsADirectoryError) as error:
        raise UserError(f"{path} is not readable: {error}", f"move {folder} away and run again") from error
    if content.get("schema") != SCHEMA:
        remedy = "use the version that wrote it, or give another --out"
        raise UserError(f"{path} has record version {content.get('schema')}, this program writes {SCHEMA}", remedy)
    # A round trip through JSON, so that tuples compare as the lists they are on disk.
    differing = _differences(content, json.loads(json.dumps(identity)))
    if differing:
        remedy = f"give another --out, or move {folder} away"
        raise UserError(f"{folder} holds a run of another configuration: {'; '.join(differing)}", remedy)
    return RunFolder(folder, content)


def _sweep(folder: Path) -> None:
    """Remove half-written files that a kill left (`write_whole` calls them .NAME.PID.tmp)."""
    for aside in folder.glob(".*.tmp"):
        aside.unlink(missing_ok=True)


def _differences(there: Any, asked: Any, name: str = "") -> list[str]:
    """Where two configurations differ, as `key: old → new`."""
    if isinstance(asked, dict) and isinstance(there, dict):
        keys = asked if not name else sorted({*asked, *there})
        found = [_differences(there.get(key), asked.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
        return [line for part in found for line in part]
    return [] if there == asked else [f"{name} is {there!r} there, {asked!r} now"]
