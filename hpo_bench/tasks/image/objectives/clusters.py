"""`cluster_100`, `cluster_1000`, `cluster_10000`: chemical clusters of three granularities, read from the image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.stored import stored
from hpo_bench.tasks.image.views import JIGSAW
from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.targets import Statistics
from hpo_bench.tasks.objective import entropy, linear_head, log_shares, wide

_ROWS = 4096  # molecules whose distances to all centroids are held at once


class Clusters(Objective):
    """Which k-means cluster of the corpus's MACCS keys the molecule is in: cross-entropy.

    `wanted` clusters, but never more than there are different fingerprints; `classes` is what there are. It reads the
    view that JPP reads, tiles shuffled or not, as in ImageMol.
    """

    paper = "multi-granularity chemical clusters (MG3C), ImageMol, Zeng et al. 2022, doi 10.1038/s42256-022-00557-6"
    views = (JIGSAW,)
    wanted: ClassVar[int]

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        keys = corpus.maccs()
        name = hashlib.sha256(f"{self.wanted}|{corpus.seed}|{keys.shape}\n".encode() + keys.tobytes()).hexdigest()
        labels = stored("clusters", name, lambda: cluster(keys, self.wanted, corpus.seed))
        self.classes = int(labels.max()) + 1
        self.labels = torch.from_numpy(labels).to(corpus.device, torch.int64)
        totals = np.bincount(labels, minlength=self.classes)
        self.baseline_loss = entropy(totals)
        self.bias = log_shares(totals)

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        return F.cross_entropy(wide(head(encoded[JIGSAW])), self.labels.index_select(0, batch.index))


class Clusters100(Clusters):
    """Which of 100 clusters of MACCS keys the drawn molecule is in."""

    name, wanted = "cluster_100", 100


class Clusters1000(Clusters):
    """Which of 1,000 clusters of MACCS keys the drawn molecule is in."""

    name, wanted = "cluster_1000", 1000


class Clusters10000(Clusters):
    """Which of 10,000 clusters of MACCS keys the drawn molecule is in."""

    name, wanted = "cluster_10000", 10000


def cluster(keys: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """Labels (M,) int64 from 0 without a gap: k-means of fingerprints (M, D).

    Where there are no more kinds of fingerprint than clusters are wanted, each kind is one. A centroid that is nearest
    to no molecule is no cluster.
    """
    kinds, kind_of = np.unique(keys, axis=0, return_inverse=True)
    if wanted >= len(kinds):
        return kind_of.reshape(-1).astype(np.int64)
    statistics = Statistics.fit(_only_keys(keys), wanted, seed)
    labels = [statistics.assign(keys[start : start + _ROWS]) for start in range(0, len(keys), _ROWS)]
    return np.unique(np.concatenate(labels), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _only_keys(keys: np.ndarray) -> MoleculeArrays:
    """Molecules of which nothing but the fingerprint is known."""
    nothing = np.zeros((len(keys), 0))
    none = np.zeros(len(keys), np.int32)
    return MoleculeArrays(nothing[:0], nothing[:0], nothing[:0], none, none, nothing, keys, nothing)
