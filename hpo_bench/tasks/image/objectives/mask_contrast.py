"""`mask_contrast`: an image and the same image with a square hidden lie close together."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.views import MASKED
from hpo_bench.tasks.objective import CLEAN, at_least, wide

_FLOOR = 1e-12  # under the root: a distance of 0 has no derivative


class MaskContrast(Objective):
    """Mean Euclidean distance between the embeddings of the whole and of the masked image.

    It has no negatives and no head, as in ImageMol: alone it is solved by an encoder that sees nothing. Its
    `baseline_loss` is the distance between two different molecules under the base, as if the mask hid everything.
    """

    name = "mask_contrast"
    paper = "mask-based contrastive learning (MCL), ImageMol, Zeng et al. 2022, doi 10.1038/s42256-022-00557-6"
    views = (CLEAN, MASKED)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.baseline_loss = at_least(corpus.spread())

    def build_head(self, width: int) -> nn.Module:
        return nn.Identity()

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        apart = wide(head(encoded[CLEAN])) - wide(head(encoded[MASKED]))
        return (apart.square().sum(1) + _FLOOR).sqrt().mean()
