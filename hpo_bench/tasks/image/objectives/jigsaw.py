"""`jigsaw`: in which order the tiles of the image are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.views import JIGSAW, JIGSAW_CLASSES, WHOLE_RATE
from hpo_bench.tasks.objective import entropy, linear_head, wide


class Jigsaw(Objective):
    """Which of 101 orders (100 permutations and none) the tiles are in: cross-entropy over that of the known shares."""

    name = "jigsaw"
    paper = "jigsaw puzzle prediction (JPP), ImageMol, Zeng et al. 2022, after Noroozi and Favaro 2016"
    views = (JIGSAW,)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        shares = torch.full((JIGSAW_CLASSES,), (1 - WHOLE_RATE) / JIGSAW_CLASSES, dtype=torch.float64)
        shares[0] += WHOLE_RATE
        self.baseline_loss = entropy(shares)
        self.bias = shares.log()

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        return F.cross_entropy(wide(head(encoded[JIGSAW])), batch.order)
