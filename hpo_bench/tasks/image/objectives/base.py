"""What an objective on images is: the views it reads, its head, its loss.

As on graphs, a loss is divided by its `chance`, so that an objective that has learned nothing stands near 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CorpusData:
    """What objectives are made from: MACCS keys (M, 167), the device, a seed, and the encoder's scale.

    `spread()` is the mean distance between the base encoder's embeddings of two different molecules.
    """

    maccs: np.ndarray
    device: torch.device
    seed: int
    spread: Callable[[], float]


@dataclass(frozen=True)
class ImageBatch:
    """B molecules of the corpus with every random choice made.

    index (B,): rows of the corpus. order (B,): which permutation the tiles of the jigsaw view follow, 0 for none.
    views: standardised images (B, 3, S, S) by name, for the views that the objectives read.
    """

    index: Tensor
    order: Tensor
    views: Mapping[str, Tensor]

    def __len__(self) -> int:
        return int(self.index.shape[0])


class Objective(ABC):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    name: ClassVar[str]
    paper: ClassVar[str]
    views: ClassVar[tuple[str, ...]]

    chance: float  # loss of one that has learned nothing, > 0; the core's losses are in this unit

    def __init__(self, corpus: CorpusData) -> None:
        self.corpus = corpus

    @abstractmethod
    def build_head(self, width: int) -> nn.Module:
        """A fresh head on embeddings of `width`, on the processor."""

    @abstractmethod
    def loss(self, head: nn.Module, embedded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        """The loss () of a batch, not yet over `chance`, from the embeddings (B, width) of the views in `views`."""
