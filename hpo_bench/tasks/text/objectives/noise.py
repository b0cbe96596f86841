"""`noise`: a planted objective that cannot help, by which a method that learns weights can be judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.text.encoder import TextEncoder
from hpo_bench.tasks.text.objectives.base import CLEAN, CorpusData, Drawn, Encoded, Objective, wide
from hpo_bench.tasks.text.packed import Tokens

NOISE_CLASSES = 100


class Noise(Objective):
    """Classify a text into one of 100 classes that were drawn by lot: cross-entropy; chance is log 100."""

    name = "noise"
    paper = "random labels, Zhang et al. 2017, arXiv 1611.03530"
    chance = math.log(NOISE_CLASSES)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        labels = np.random.default_rng([corpus.seed, 7]).integers(NOISE_CLASSES, size=len(corpus.packed))
        self.labels = torch.from_numpy(labels).to(corpus.packed.device)

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        return Drawn({CLEAN: clean}, {"labels": self.labels.index_select(0, index)})

    def build_head(self, width: int) -> nn.Module:
        return nn.Linear(width, NOISE_CLASSES)

    def loss(
        self, head: Any, encoder: TextEncoder, encoded: Mapping[str, Encoded], targets: Mapping[str, Tensor]
    ) -> Tensor:
        return F.cross_entropy(wide(head(encoded[CLEAN].pooled)), targets["labels"])
