"""What an objective on molecules is: the views it reads, its head, its loss. See `tasks.objective`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo_bench.tasks import objective
from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.layer_rows import Incidence
from hpo_bench.tasks.molecule.packed import Graphs, PackedMolecules
from hpo_bench.tasks.molecule.targets import Statistics
from hpo_bench.tasks.objective import CLEAN

MASKED = "masked"


@dataclass(frozen=True, kw_only=True)
class CorpusData(objective.CorpusData):
    """What objectives are made from: the molecules as arrays (with targets) and packed, and the statistics, too."""

    molecules: MoleculeArrays
    packed: PackedMolecules
    statistics: Statistics

    def put(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        """An array as a tensor on the device of the corpus."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.packed.device, dtype)


class Hidden(NamedTuple):
    """Hidden things of a padded batch. rows: which atoms' embeddings each adds up. real: 1, or 0 for padding."""

    rows: Incidence
    real: Tensor


@dataclass(frozen=True)
class MoleculeBatch:
    """B molecules of the corpus with every random choice made.

    index (B,): rows of the corpus. views: graphs by name. masked_atoms (A',): atoms hidden in the masked view;
    masked_edges (E',): hidden bonds, each by one of its two directed edges. joint: the views that the objectives read,
    as one graph ready for the encoder; None where nobody made it ready. atoms, bonds: masked_atoms and masked_edges
    of a padded batch, see `padded`.
    """

    index: Tensor
    views: Mapping[str, Graphs]
    masked_atoms: Tensor
    masked_edges: Tensor
    joint: Graphs | None = None
    atoms: Hidden | None = None
    bonds: Hidden | None = None

    def __len__(self) -> int:
        return int(self.index.shape[0])


class Embedded(NamedTuple):
    """The encoder's answer for a view: nodes (N, width), graphs (B, width)."""

    nodes: Tensor
    graphs: Tensor


class Objective(objective.Objective):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    targets: ClassVar[tuple[str, ...]] = ()  # kinds of `targets.TARGET_KINDS` that it reads; no others are computed
    corpus: CorpusData

    @abstractmethod
    def loss(self, head: Any, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        """The loss () of a batch in its own unit, from the embeddings of the views named in `views`."""

    def embedding(self, encoded: Mapping[str, Embedded]) -> Tensor:
        return encoded[CLEAN].graphs
