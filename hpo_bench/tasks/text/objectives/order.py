"""`sop`: are the two halves of a text in their order?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.objective import Drawn, DrawnBatch, wide
from hpo_bench.tasks.text.objectives.base import Encoded, Objective
from hpo_bench.tasks.text.packed import Tokens


class HalfOrder(Objective):
    """Tell whether the halves of a text are in order: they go in as a pair, swapped in half of the cases by lot."""

    name = "sop"
    paper = "sentence-order prediction, ALBERT, Lan et al. 2020, arXiv 1909.11942 (there of two sentences)"
    pairs = True
    baseline_loss = math.log(2)

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        packed = self.corpus.packed
        # The pair carries one special token more than the text: a text that fills the model to the brim gives way.
        room = packed.frame.room(packed.limit, pair=True)
        starts, counts = packed.starts.index_select(0, index)[:, 0], packed.counts.index_select(0, index)[:, 0]
        counts = counts.clamp(max=room)
        half = counts // 2
        swapped = torch.rand(len(index), generator=generator, device=index.device) < 0.5
        halves = torch.stack([starts, starts + half], 1), torch.stack([half, counts - half], 1)
        either = [torch.where(swapped[:, None], part.flip(1), part) for part in halves]
        return Drawn({self.name: packed.assemble(*either)}, {"swapped": swapped.float()})

    def build_head(self, width: int) -> nn.Module:
        return nn.Linear(width, 1)

    def loss(self, head: Any, encoded: Mapping[str, Encoded], batch: DrawnBatch) -> Tensor:
        targets = batch.targets[self.name]
        logits = wide(head(encoded[self.name].pooled)).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, targets["swapped"].to(logits.dtype))
