"""One folder a run: opened under a lock, for one configuration, with an explicit status."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import Timeout

from hpo_bench.errors import UserError
from hpo_bench.records import schema, scratch
from hpo_bench.records.files import append_line, drop_torn_line, locked, own_folder, sweep, write_whole
from hpo_bench.records.schema import SCHEMA, Status

_DISK_REFUSES = {
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EACCES",
        "EPERM",
        "EIO",
        "EFBIG",
        "ENOTDIR",
        "EISDIR",
        "EEXIST",
        "ENOENT",
        "ENAMETOOLONG",
        "ELOOP",
        "ENXIO",
        "ESTALE",
    )
    if hasattr(errno, name)
}
FINISHED: tuple[Status, ...] = ("done", "over-budget")


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
        return schema.read_tests(self.folder)

    def record_test(self, line: dict[str, Any]) -> None:
        """Append a retraining with its test score; it is never read again."""
        path = self.folder / "tests.jsonl"
        append_line(path, schema.check_line(schema.TestLine, line, path))

    def update(self, **changes: Any) -> None:
        """Change run.json; the file is replaced whole."""
        path = self.folder / "run.json"
        # A round trip through JSON, so that what is checked is what the file says.
        self.content = schema.check_run(json.loads(json.dumps(self.content | changes)), path)
        write_whole(path, (json.dumps(self.content, indent=1) + "\n").encode())

    def begin_session(self, environment: dict[str, Any], **changes: Any) -> None:
        """Another process works on the run; where each of them did is kept."""
        number = self.content["sessions"] + 1
        environments = [*self.content["environments"], {"session": number, **environment}]
        changes = {"status": "running", "error": None, "ended": None, **changes}
        self.update(sessions=number, environments=environments, **changes)

    def notice(self, sentence: str) -> None:
        """Something that whoever reads the record should know."""
        data = self.content["data"]
        self.update(data={**data, "notices": list(dict.fromkeys([*data["notices"], sentence]))})

    def add_node(self, hardware: dict[str, Any]) -> None:
        """A machine works on the run in this session; like machines are kept as one description with their number."""
        *earlier, now = self.content["environments"]
        kind = {key: value for key, value in hardware.items() if key != "node"}
        nodes = [dict(one) for one in now.get("nodes", [])]
        for one in nodes:
            if all(one.get(key) == value for key, value in kind.items()):
                one["count"] += 1
                break
        else:
            nodes.append({"count": 1, **kind})
        self.update(environments=[*earlier, {**now, "nodes": nodes}])

    def finish(self, status: Status, error: str | None = None, **changes: Any) -> None:
        """Set the final status."""
        self.update(status=status, error=error, ended=now(), **changes)


def now() -> str:
    """The time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def open_run(folder: Path, identity: dict[str, Any], content: dict[str, str] | None = None) -> Iterator[RunFolder]:
    """Lock a run folder and read or start its record; what killed processes left behind is cleared away.

    A finished run needs no lock, and no permission to write.

    `identity` (method, task, seed, config, …) must equal that of the run which the folder already holds, and so must
    `content`, the SHA-256 of what the task was loaded from, by part (table, split, corpus).

    Raises:
        UserError: the folder can't be written (also later, inside the block), is in use by another process, holds
            another configuration, or its data have changed since.
    """
    if is_finished(folder):  # nobody writes there any more, and it may be a folder that is only read
        with suppress(UserError), held(folder):
            _clear(folder)
        yield _read_or_start(folder, identity, content)
        return
    with held(folder):
        _clear(folder)
        yield _read_or_start(folder, identity, content)


def _clear(folder: Path) -> None:
    """Remove what a killed process left."""
    sweep(folder)
    if (folder / "workspace").exists():
        scratch.clear(own_folder(folder / "workspace"))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A folder, made if need be, that no other process records in meanwhile.

    Raises:
        UserError: it can't be written (also later, inside the block), or is in use by another process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            yield
    except Timeout as error:
        remedy = "wait for it, or give this one another --out"
        raise UserError(f"another process is running in {folder}", remedy) from error
    except OSError as error:
        if error.errno in _DISK_REFUSES:
            raise unwritable(folder, error) from error
        raise


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise UserError where the disk refuses what is written into `folder` inside the block."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


def check_writable(folder: Path) -> None:
    """Raise UserError, as `held` would, where `folder` cannot be made or filled; no trace is left."""
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    missing = folder.relative_to(there)
    try:
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=there) as aside:
            (Path(aside) / missing).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        first = Path(there, *missing.parts[:1])
        raise unwritable(first, OSError(error.errno, os.strerror(error.errno or 0))) from error


def check_new(folder: Path) -> None:
    """`check_writable`, where nothing is there yet: what is there may be finished, and need no writing."""
    if not os.path.lexists(folder):
        check_writable(folder)


def is_finished(folder: Path) -> bool:
    """Does a finished run lie there?"""
    try:
        return schema.read_run(folder)["status"] in FINISHED
    except UserError:
        return False


def unwritable(path: Path, error: OSError) -> UserError:
    """What to tell a user whose disk refuses: of the file that the error names, else of `path`."""
    path = Path(error.filename2 or error.filename or path)
    remedy = "choose a folder that you can write to with --out"
    if error.errno == errno.ENOSPC:
        remedy = "free some space and run the same command again: what was recorded is kept"
    return UserError(f"cannot write {path}: {error.strerror or error}", remedy)


def _read_or_start(folder: Path, identity: dict[str, Any], content: dict[str, str] | None) -> RunFolder:
    if not os.path.lexists(folder / "run.json"):
        orphans = [name for name in ("trials.jsonl", "tests.jsonl", "bill.json") if (folder / name).exists()]
        if orphans:
            message = f"{folder} holds {', '.join(orphans)} and no run.json that says of which run"
            raise UserError(message, f"give another --out, or move {folder} away")
        run = RunFolder(folder)
        start = {"schema": SCHEMA, "status": "running", "error": None, "started": now(), "ended": None, "sessions": 0}
        run.update(**start, **identity, content=content or {}, environments=[])
        return run
    there = schema.read_run(folder)
    if there["status"] not in FINISHED:
        drop_torn_line(folder / "tests.jsonl")
    if made_way(there, identity):
        aside = _set_aside(folder)
        warnings.warn(f"the run of another configuration that diverged in {folder} lies in {aside} now", stacklevel=2)
        return _read_or_start(folder, identity, content)
    check_identity(folder, there, identity)
    check_content(folder, there, content or {})
    return RunFolder(folder, there)


def made_way(there: dict[str, Any], asked: dict[str, Any]) -> bool:
    """May a run of another configuration take over the folder of `there`? Only where that one diverged."""
    return there["status"] == "diverged" and bool(differences(there, json.loads(json.dumps(asked))))


def _set_aside(folder: Path) -> Path:
    """Move all records into a folder beside this one; the lock stays."""
    number = 1
    while os.path.lexists(aside := folder.with_name(f"{folder.name}-diverged-{number}")):
        number += 1
    aside.mkdir()
    for entry in sorted(folder.iterdir()):
        if entry.name != ".lock":
            entry.rename(aside / entry.name)
    return aside


def check_identity(folder: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Is `there`, the record in `folder`, of the configuration that is asked for?

    Raises:
        UserError: it is not; every difference is named.
    """
    # A round trip through JSON, so that tuples compare as the lists they are on disk.
    differing = differences(there, json.loads(json.dumps(asked)))
    if differing:
        remedy = f"give another --out, or move {folder} away"
        raise UserError(f"{folder} holds a run of another configuration: {'; '.join(differing)}", remedy)


def check_content(folder: Path, there: dict[str, Any], now: dict[str, str]) -> None:
    """Was the run in `folder` made from the same table, split and corpus?

    Raises:
        UserError: it was not; which of them changed is named. Also an older record that is not done and did not keep
            what its data were: going on with it might mix two files.
    """
    before = there["content"]
    if before is None:
        if there["status"] not in FINISHED:
            message = f"{folder} was begun by an older version, which did not keep what the data were"
            raise UserError(message, "give another --out; what is recorded there can still be shown and exported")
        warnings.warn(
            f"{folder} was recorded by an older version: whether the data have changed since cannot be told",
            stacklevel=2,
        )
        return
    changed = [part for part in sorted({*before, *now}) if before.get(part) != now.get(part)]
    if changed:
        raise UserError(
            f"{folder} holds a run of other data; the file has changed since: its {' and its '.join(changed)}",
            "give another --out for the data as they are now, or put the old file back",
        )


def differences(there: Any, asked: Any, name: str = "") -> list[str]:
    """Where two configurations differ, as `key is old there, new now`; values are those that JSON gives back."""
    if isinstance(asked, dict) and isinstance(there, dict):
        keys = asked if not name else sorted({*asked, *there})
        found = [differences(there.get(key), asked.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
        return [line for part in found for line in part]
    return [] if there == asked else [f"{name} is {there!r} there, {asked!r} now"]
