"""`noise`: a planted objective that cannot help, by which a method that learns weights can be judged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.objectives.base import CLEAN, CorpusData, Embedded, MoleculeBatch, Objective, wide
from hpo_bench.tasks.molecule.targets import NOISE_CLASSES, noise_labels


class Noise(Objective):
    """Classify a molecule into one of 100 classes that were drawn by lot: cross-entropy; chance is log 100."""

    name = "noise"
    paper = "random labels, Zhang et al. 2017, arXiv 1611.03530"

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.chance = math.log(NOISE_CLASSES)
        self.labels = corpus.put(noise_labels(len(corpus.molecules), NOISE_CLASSES, corpus.seed), torch.int64)

    def build_head(self, width: int) -> nn.Module:
        return nn.Linear(width, NOISE_CLASSES)

    def loss(self, head: nn.Module, embedded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        logits = wide(head(embedded[CLEAN].graphs))
        return F.cross_entropy(logits, self.labels.index_select(0, batch.index))
