"""Labels that chemistry software gives, read from the molecule's embedding: `motif`, `cluster`, `descriptor`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.objectives.base import CorpusData, Embedded, MoleculeBatch, Objective
from hpo_bench.tasks.objective import CLEAN, at_least, entropy, linear_head, log_shares, wide


class Motifs(Objective):
    """Which of 85 functional groups the molecule has: mean binary cross-entropy."""

    name = "motif"
    paper = "graph-level motif prediction, GROVER, Rong et al. 2020, arXiv 2007.02835"
    targets = ("motif",)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.labels = corpus.put(corpus.molecules.motif, torch.float32)
        share = self.labels.double().mean(0)
        self.baseline_loss = at_least(float((torch.special.entr(share) + torch.special.entr(1 - share)).mean()))
        self.bias = ((share * len(self.labels) + 0.5) / (len(self.labels) + 1)).logit().cpu()

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        logits = wide(head(encoded[CLEAN].graphs))
        labels = self.labels.index_select(0, batch.index).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, labels)


class Clusters(Objective):
    """Which of the base corpus's k-means clusters of MACCS keys the molecule is nearest to: cross-entropy."""

    name = "cluster"
    paper = "multi-granularity chemical clusters (MG3C), ImageMol, Zeng et al. 2022"
    targets = ("maccs",)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        labels = corpus.statistics.assign(corpus.molecules.maccs)
        self.classes = len(corpus.statistics.centroids)
        self.labels = corpus.put(labels, torch.int64)
        totals = np.bincount(labels, minlength=self.classes)
        self.baseline_loss = entropy(totals)
        self.bias = log_shares(totals)

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        logits = wide(head(encoded[CLEAN].graphs))
        return F.cross_entropy(logits, self.labels.index_select(0, batch.index))


class Descriptors(Objective):
    """RDKit descriptors as standard scores of the base corpus: squared error over their variance in this corpus."""

    name = "descriptor"
    paper = "multi-task regression (MTR), ChemBERTa-2, Ahmad et al. 2022, arXiv 2209.01712"
    targets = ("descriptor",)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        scores = corpus.statistics.standardise(corpus.molecules.descriptor)
        self.scores = corpus.put(scores, torch.float32)
        self.baseline_loss = at_least(float(scores.astype(np.float64).var(0).mean()))
        self.bias = torch.from_numpy(scores.astype(np.float64).mean(0))

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        predicted = wide(head(encoded[CLEAN].graphs))
        scores = self.scores.index_select(0, batch.index).to(predicted.dtype)
        return F.mse_loss(predicted, scores)
