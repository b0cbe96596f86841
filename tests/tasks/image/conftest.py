"""Sixty real molecules at 32 pixels under a narrow ResNet, and a cache that belongs to the test session."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpo_bench.tasks.image import ImageCorpus, build_image_task
from hpo_bench.tasks.image.objectives import OBJECTIVES
from hpo_bench.tasks.molecule import Splits
from hpo_bench.tasks.objective import on_any_corpus

NARROW = {"widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "c1ccsc1", "C1CCNCC1")
_ENDS = ("O", "N", "C(=O)O", "Cl", "C#N", "S(N)(=O)=O", "OC", "F", "CC(C)C", "C(N)=O")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """One cache for the session: molecules are drawn once, the user's cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def smiles():
    """Every ring with every end: 60 different molecules."""
    return [f"{ring}CC{end}" for ring in _RINGS for end in _ENDS]


@pytest.fixture(scope="session")
def corpus(smiles):
    """All six objectives."""
    return ImageCorpus(smiles, on_any_corpus(OBJECTIVES), size=32, encoder=NARROW)


@pytest.fixture(scope="session")
def loaded(smiles):
    return load(smiles)


def load(smiles, device="cpu"):
    """Is the ring aromatic? 40 molecules of train, 10 of valid, 10 of test."""
    labels = np.array([[float("c1" in text)] for text in smiles])
    rows = np.random.default_rng(0).permutation(len(smiles))
    splits = Splits(rows[:40], rows[40:50], rows[50:])
    return build_image_task(
        "rings",
        smiles,
        labels,
        splits,
        kind="classification",
        metric="roc_auc",
        image_size=32,
        encoder=NARROW,
        device=device,
    )


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
