"""`rationality`: is this a molecule, or a molecule in pieces?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.views import JIGSAW, JIGSAW_CLASSES, WHOLE_RATE
from hpo_bench.tasks.objective import CLEAN, entropy, linear_head, wide


class Rationality(Objective):
    """Tell images whose tiles are shuffled from whole ones: the cross-entropies of both views, summed."""

    name = "rationality"
    paper = "molecular rationality discrimination (MRD), ImageMol, Zeng et al. 2022, doi 10.1038/s42256-022-00557-6"
    views = (CLEAN, JIGSAW)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        shuffled = (1 - WHOLE_RATE) * (1 - 1 / JIGSAW_CLASSES) / 2  # of the images of both views
        shares = torch.tensor([shuffled, 1 - shuffled], dtype=torch.float64)
        self.baseline_loss = 2 * entropy(shares)
        self.bias = shares.log()

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        rational = (batch.order == 0).long()
        whole = torch.ones_like(rational)
        jigsaw, clean = wide(head(encoded[JIGSAW])), wide(head(encoded[CLEAN]))
        return F.cross_entropy(jigsaw, rational) + F.cross_entropy(clean, whole)
