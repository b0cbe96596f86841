"""`contrast`: the two views of a molecule find each other among the views of the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.objectives.base import MASKED, Embedded, MoleculeBatch, Objective
from hpo_bench.tasks.objective import CLEAN, wide

TEMPERATURE = 0.1


class Contrast(Objective):
    """NT-Xent between the clean and the masked view, averaged over both directions, over log B.

    Attribute masking is one of GraphCL's augmentations; negatives are the other molecules' other views, as there.
    """

    name = "contrast"
    paper = "GraphCL, You et al. 2020, arXiv 2010.13902"
    views = (CLEAN, MASKED)
    compares_rows = True
    baseline_loss = 1.0  # the loss is over log B already: B is the batch's, not the corpus's

    def build_head(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        both = torch.cat([encoded[CLEAN].graphs, encoded[MASKED].graphs])
        clean, masked = F.normalize(wide(head(both)), dim=1).chunk(2)
        similarity = clean @ masked.T / TEMPERATURE
        same = torch.arange(len(similarity), device=similarity.device)
        loss = F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)
        # `full` fills on the device; `new_tensor` would copy a number there and wait.
        return loss / torch.full((), 2 * math.log(max(len(similarity), 2)), dtype=loss.dtype, device=loss.device)
