"""What an objective on images is: the views it reads, its head, its loss. See `tasks.objective`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hpo_bench.tasks import objective


@dataclass(frozen=True, kw_only=True)
class CorpusData(objective.CorpusData):
    """What objectives are made from: MACCS keys and the encoder's scale, too, each computed when it is asked for.

    `maccs()` are the keys (M, 167). `spread()` is the mean distance between the base encoder's embeddings of two
    different molecules.
    """

    maccs: Callable[[], np.ndarray]
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


class Objective(objective.Objective):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    corpus: CorpusData

    @abstractmethod
    def loss(self, head: Any, encoded: Mapping[str, Tensor], batch: ImageBatch) -> Tensor:
        """The loss () of a batch in its own unit, from the embeddings (B, width) of the views in `views`."""
