"""What an objective is: the views it reads, its head, its loss.

An objective's loss is divided by its `chance`: the loss of the best constant predictor on the corpus at hand (the
entropy of the labels, the variance of the targets, the log of the number of candidates). So an objective that has
learned nothing stands near 1, one that is solved near 0, and weights compare between objectives. A fresh head's bias is
that constant predictor, so training starts near 1 as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.levels import Incidence
from hpo_bench.tasks.molecule.packed import Graphs, PackedMolecules
from hpo_bench.tasks.molecule.targets import Statistics

CLEAN, MASKED = "clean", "masked"
_SMALLEST_CHANCE = 0.05  # nats or variance: a corpus whose labels hardly vary must not blow a loss up


@dataclass(frozen=True)
class CorpusData:
    """What objectives are made from: the molecules as arrays (with targets) and packed, the statistics, a seed."""

    molecules: MoleculeArrays
    packed: PackedMolecules
    statistics: Statistics
    seed: int

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


class Objective(ABC):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    name: ClassVar[str]
    paper: ClassVar[str]
    views: ClassVar[tuple[str, ...]] = (CLEAN,)
    targets: ClassVar[tuple[str, ...]] = ()  # kinds of `targets.TARGET_KINDS` that it needs computed

    chance: float  # loss of the best constant predictor on the corpus, > 0; the core's losses are in this unit

    def __init__(self, corpus: CorpusData) -> None:
        self.corpus = corpus

    @abstractmethod
    def build_head(self, width: int) -> nn.Module:
        """A fresh head on embeddings of `width`, on the processor."""

    @abstractmethod
    def loss(self, head: nn.Module, embedded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        """The loss () of a batch, not yet over `chance`, from the embeddings of the views named in `views`."""


def wide(tensor: Tensor) -> Tensor:
    """Head outputs in float32 at least: losses are not taken in bf16."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def entropy(totals: Tensor | np.ndarray) -> float:
    """Entropy in nats of the shares of `totals` (classes,), floored: the loss of the best constant classifier."""
    share = torch.as_tensor(totals, dtype=torch.float64)
    share = share / share.sum().clamp(min=1)
    return max(float(torch.special.entr(share).sum()), _SMALLEST_CHANCE)


def at_least(chance: float) -> float:
    """A normaliser that is safe to divide by."""
    return max(chance, _SMALLEST_CHANCE)


def log_shares(totals: Tensor | np.ndarray) -> Tensor:
    """Log of the shares of `totals` (classes,) after adding one to each: the bias of a constant classifier."""
    counts = torch.as_tensor(totals, dtype=torch.float64) + 1
    return (counts / counts.sum()).log()


def linear_head(width: int, bias: Tensor) -> nn.Linear:
    """A linear head whose bias (outputs,) is given and whose weight is drawn as usual."""
    head = nn.Linear(width, len(bias))
    with torch.no_grad():
        head.bias.copy_(bias)
    return head
