"""BACE itself where it can be had, its first molecules as a corpus, and a cache that belongs to the test session."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hpo_bench.tasks.molecule import MoleculeCorpus, Splits, build_task
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.objectives import OBJECTIVES

SMALL = {"layers": 2, "width": 16}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """One cache for the session: molecules are featurised once, the user's cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bace():
    """SMILES and labels (N, 1) of 300 molecules of BACE, spread over the file."""
    root = Path(__file__).resolve().parents[3]
    folder = Path(os.environ.get("HPO_BENCH_SHARED_DATA") or root.parent / "shared" / "data")
    path = folder / "molecules" / "bace.csv"
    if not path.is_file():
        pytest.skip(f"BACE is not at {path}; set HPO_BENCH_SHARED_DATA")
    with path.open() as file:
        rows = list(csv.DictReader(file))[::5][:300]
    return [row["mol"] for row in rows], np.array([[float(row["Class"])] for row in rows])


@pytest.fixture(scope="session")
def molecules(bace):
    return featurise(bace[0])


@pytest.fixture(scope="session")
def corpus(bace, molecules):
    """All seven objectives on 300 molecules under a small encoder."""
    return MoleculeCorpus(bace[0], tuple(OBJECTIVES), encoder=SMALL, molecules=molecules, clusters=10)


@pytest.fixture(scope="session")
def loaded(bace):
    smiles, labels = bace
    rows = np.random.default_rng(0).permutation(len(smiles))
    splits = Splits(rows[:200], rows[200:250], rows[250:])
    return build_task("bace", smiles, labels, splits, kind="classification", metric="roc_auc", encoder=SMALL)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
