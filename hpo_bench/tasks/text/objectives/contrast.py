"""`contrast`: two dropout passes of a text find each other in the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.objective import CLEAN, Drawn, DrawnBatch, wide
from hpo_bench.tasks.text.objectives.base import AGAIN, Encoded, Objective
from hpo_bench.tasks.text.packed import Tokens

TEMPERATURE = 0.05


class Contrast(Objective):
    """Two dropout passes of a text find each other in the batch: cross-entropy of their cosines over 0.05."""

    name = "contrast"
    paper = "unsupervised SimCSE, Gao et al. 2021, arXiv 2104.08821"
    compares_rows = True
    baseline_loss = 1.0  # the loss is over log B already: B is the batch's, not the corpus's

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        return Drawn({CLEAN: clean, AGAIN: clean})

    def build_head(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def loss(self, head: Any, encoded: Mapping[str, Encoded], batch: DrawnBatch) -> Tensor:
        one = F.normalize(wide(head(encoded[CLEAN].pooled)), dim=1)
        two = F.normalize(wide(head(encoded[AGAIN].pooled)), dim=1)
        similarity = one @ two.T / TEMPERATURE
        loss = F.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device))
        # `full` fills on the device; `new_tensor` would copy a number there and wait.
        return loss / torch.full((), math.log(max(len(similarity), 2)), dtype=loss.dtype, device=loss.device)
