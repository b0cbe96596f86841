"""What an objective on text is: the views it reads, drawn afresh for every batch, its head, its loss.

A loss is divided by its `chance`, the loss of the best constant predictor on the corpus, as on molecules: an objective
that has learned nothing stands near 1, one that is solved near 0, and weights compare between objectives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hpo_bench.tasks.text.encoder import BaseModel, TextEncoder
from hpo_bench.tasks.text.packed import PackedTexts, Tokens
from hpo_bench.tasks.text.tokens import Tokeniser

CLEAN, AGAIN = "clean", "clean again"
HIDDEN_RATE = 0.15


@dataclass(frozen=True)
class CorpusData:
    """What objectives are made from: the packed corpus, its tokeniser, the base, a seed."""

    packed: PackedTexts
    tokeniser: Tokeniser
    base: BaseModel
    seed: int


class Drawn(NamedTuple):
    """What an objective needs of a batch: views by name (one name is one pass, whoever asks for it), and targets."""

    views: Mapping[str, Tokens]
    targets: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class TextBatch:
    """B texts of the corpus with every random choice made. index (B,): rows. targets: by the objective's name."""

    index: Tensor
    views: Mapping[str, Tokens]
    targets: Mapping[str, Mapping[str, Tensor]]

    def __len__(self) -> int:
        return int(self.index.shape[0])


class Encoded(NamedTuple):
    """The encoder's answer for a view: hidden states (B, W, width), and the texts' embeddings (B, width)."""

    hidden: Tensor
    pooled: Tensor


class Objective(ABC):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    name: ClassVar[str]
    paper: ClassVar[str]
    pairs: ClassVar[bool] = False  # are its inputs pairs of texts, and token type 1 among them?

    chance: float  # loss of the best constant predictor, > 0; the core's losses are in this unit

    def __init__(self, corpus: CorpusData) -> None:
        self.corpus = corpus

    @abstractmethod
    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        """Views and targets of the texts `index` (B,), whose unchanged tokens are `clean`."""

    @abstractmethod
    def build_head(self, width: int) -> nn.Module:
        """A fresh head on embeddings of `width`, on the processor."""

    @abstractmethod
    def loss(
        self, head: Any, encoder: TextEncoder, encoded: Mapping[str, Encoded], targets: Mapping[str, Tensor]
    ) -> Tensor:
        """The loss () of a batch, not yet over `chance`."""


def wide(tensor: Tensor) -> Tensor:
    """Head outputs in float32 at least: losses are not taken in bf16."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def choose(content: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """`rate` of each row's content (B, W) bool by lot, rounded, one token at least: flat positions (M,), ascending."""
    keys = torch.rand(content.shape, generator=generator, device=content.device, dtype=torch.float64)
    keys = keys.masked_fill(~content, 2.0)
    sizes = content.sum(1)
    quota = torch.minimum((rate * sizes).round().clamp(min=1), sizes).long()
    rank = keys.argsort(1).argsort(1)
    return (rank < quota[:, None]).flatten().nonzero().squeeze(1)
