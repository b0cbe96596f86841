"""The self-supervised objectives on digits, and what can be planted among them. Adding one: write the class, name it.

An image is (1, 8, 8), from 0 to 1. The encoder's answer to a view is its embeddings (B, width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.objective import CorpusData, Drawn, DrawnBatch, DrawnObjective, at_least, wide
from hpo_bench.tasks.planted import planted_on

SIDE = 8
HIDDEN_RATE = 0.5
TEMPERATURE = 0.2


@dataclass(frozen=True, kw_only=True)
class DigitsData(CorpusData):
    """What objectives on digits are made from: the images (N, 1, 8, 8) too."""

    images: Tensor


class Rotation(DrawnObjective):
    """By how many quarter turns was the image rotated?"""

    name = "rotation"
    paper = "RotNet, Gidaris et al. 2018, arXiv 1803.07728"
    baseline_loss = math.log(4)

    def draw(self, index: Tensor, clean: Tensor, generator: torch.Generator) -> Drawn:
        turns = torch.randint(4, (len(index),), generator=generator, device=clean.device)
        turned = torch.stack([clean.rot90(turn, (2, 3)) for turn in range(4)])
        return Drawn({self.name: turned[turns, torch.arange(len(index))]}, {"turns": turns})

    def build_head(self, width: int) -> nn.Module:
        return nn.Linear(width, 4)

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: DrawnBatch) -> Tensor:
        return F.cross_entropy(wide(head(encoded[self.name])), batch.targets[self.name]["turns"])


class MaskedPixels(DrawnObjective):
    """What is behind the hidden half of the pixels? Squared error over the pixels' variance in the corpus."""

    name = "masked"
    paper = "masked image modelling, MAE, He et al. 2022, arXiv 2111.06377"

    def __init__(self, corpus: DigitsData) -> None:
        super().__init__(corpus)
        self.mean = corpus.images.mean(0).flatten().cpu()
        self.baseline_loss = at_least(float(corpus.images.var(0, unbiased=False).mean()))

    def draw(self, index: Tensor, clean: Tensor, generator: torch.Generator) -> Drawn:
        hidden = torch.rand(clean.shape, generator=generator, device=clean.device) < HIDDEN_RATE
        targets = {"hidden": hidden.flatten(1), "pixels": clean.flatten(1)}
        return Drawn({self.name: clean.masked_fill(hidden, 0.0)}, targets)

    def build_head(self, width: int) -> nn.Module:
        head = nn.Linear(width, SIDE * SIDE)
        with torch.no_grad():
            head.bias.copy_(self.mean)
        return head

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: DrawnBatch) -> Tensor:
        hidden, pixels = batch.targets[self.name]["hidden"], batch.targets[self.name]["pixels"]
        error = (wide(head(encoded[self.name])) - pixels).square()
        return (error * hidden).sum() / hidden.sum().clamp(min=1)

    def terms(self, batch: DrawnBatch) -> Tensor:
        return batch.targets[self.name]["hidden"].sum()


class Contrast(DrawnObjective):
    """Two shifted and faded views of an image find each other in the batch, over log B."""

    name = "contrast"
    paper = "SimCLR, Chen et al. 2020, arXiv 2002.05709"
    compares_rows = True
    baseline_loss = 1.0  # the loss is over log B already: B is the batch's, not the corpus's

    def draw(self, index: Tensor, clean: Tensor, generator: torch.Generator) -> Drawn:
        return Drawn({f"{self.name} {view}": shifted(clean, generator) for view in (1, 2)})

    def build_head(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def loss(self, head: nn.Module, encoded: Mapping[str, Tensor], batch: DrawnBatch) -> Tensor:
        one, two = (F.normalize(wide(head(encoded[f"{self.name} {view}"])), dim=1) for view in (1, 2))
        similarity = one @ two.T / TEMPERATURE
        same = torch.arange(len(similarity), device=similarity.device)
        loss = F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)
        return loss / torch.full_like(loss, 2 * math.log(max(len(similarity), 2)))


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, 1, 8, 8), each moved by -1, 0 or 1 pixel along both axes, a quarter of the pixels faded."""
    count, device = len(images), images.device
    moves = torch.randint(3, (2, count, 1, 1), generator=generator, device=device)
    place = torch.arange(SIDE, device=device)
    rows, columns = place[None, :, None] + moves[0], place[None, None, :] + moves[1]
    moved = F.pad(images, (1, 1, 1, 1))[torch.arange(count, device=device)[:, None, None], 0, rows, columns]
    faded = torch.rand(moved.shape, generator=generator, device=device) < 0.25
    return moved.masked_fill(faded, 0.0)[:, None]


OBJECTIVES: dict[str, type[DrawnObjective]] = {
    kind.name: kind for kind in (Rotation, MaskedPixels, Contrast, *planted_on(DrawnObjective))
}
DEFAULT_OBJECTIVES = ("rotation", "masked", "contrast")
