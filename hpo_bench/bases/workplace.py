"""The folder of a training that may be killed: one process at a time, one plan, taken up where it stood."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hpo_bench.core.checkpoint import write_whole
from hpo_bench.errors import UserError
from hpo_bench.records.run_folder import unwritable

_PLAN = "plan.json"
STATE, FRESH, FRESH_ASIDE = "state.safetensors", "fresh", "fresh.tmp"
_OURS = re.compile(rf"\.lock|\.{re.escape(_PLAN)}\.\d+\.tmp")  # what a kill before the plan is there leaves
_MADE = re.compile(rf"{_OURS.pattern}|{FRESH}(\.tmp)?|{re.escape(STATE)}|\.{re.escape(STATE)}\.\d+\.tmp")


@contextmanager
def workplace(folder: Path, plan: dict[str, Any]) -> Iterator[Path]:
    """`folder`, locked, for `plan` alone; it goes away when the block ends without an error, but for what is not ours.

    Raises:
        UserError: it cannot be written, another process is in it, or it holds a training with another plan, or
            something else.
    """
    try:
        _check_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"another process trains in {folder}", "wait for it, or give another --out") from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        check_plan(folder / _PLAN, plan)
        if not (folder / _PLAN).exists():
            write_whole(folder / _PLAN, json.dumps(plan, indent=1).encode())
        yield folder
        _clear(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    except UserError:
        raise
    except Exception as error:  # safetensors and tokenizers, in Rust, raise what is no OSError
        if (refused := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        number = int(refused[1])
        raise unwritable(folder, OSError(number, os.strerror(number))) from error
    finally:
        lock.release()


def _check_ours(folder: Path) -> None:
    """Raise UserError for a folder of somebody else's: when the training ends, it goes away."""
    if not folder.is_dir() or (folder / _PLAN).exists():
        return
    if foreign := sorted(entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name)):
        raise UserError(f"{folder} holds {foreign[0]} and no training", "give another --out, or move it away")


def clear_leftovers(folder: Path, plan: dict[str, Any]) -> None:
    """Remove what a kill in the last step of a training left beside its finished base.

    What is not of this training stays, and so does everything where nothing can be removed: the base is there.
    """
    if folder.is_dir() and not folder.is_symlink():
        with suppress(UserError), workplace(folder, plan):
            pass


def _clear(folder: Path) -> None:
    """Remove what a training makes, its plan last: what a kill leaves is still known as a training's."""
    foreign = []
    for entry in sorted(folder.iterdir()):
        if not _MADE.fullmatch(entry.name):
            foreign += [entry.name] if entry.name != _PLAN else []
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (folder / _PLAN).unlink()
    if foreign:
        warnings.warn(f"{folder} stays: it holds {foreign[0]}, which no training made", stacklevel=4)
    else:
        folder.rmdir()


def check_plan(path: Path, plan: dict[str, Any]) -> None:
    """Raise UserError if `path` holds another plan than `plan`."""
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found = {**found.get("plan", found)}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "give another --out") from error
    wanted = json.loads(json.dumps(plan))
    if other := sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name)):
        told = ", ".join(f"{name} {found.get(name)!r}, not {wanted.get(name)!r}" for name in other)
        raise UserError(
            f"{path.parent} holds a training with {told}", "give another --out, or the settings that it was begun with"
        )
