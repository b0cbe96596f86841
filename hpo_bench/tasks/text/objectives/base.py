"""What an objective on text is: the views it draws, its head, its loss. See `tasks.objective`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hpo_bench.tasks import objective
from hpo_bench.tasks.objective import CLEAN, DrawnBatch, DrawnObjective
from hpo_bench.tasks.text.encoder import BaseModel
from hpo_bench.tasks.text.packed import PackedTexts
from hpo_bench.tasks.text.tokens import Tokeniser

AGAIN = "clean again"
HIDDEN_RATE = 0.15


@dataclass(frozen=True, kw_only=True)
class CorpusData(objective.CorpusData):
    """What objectives are made from: the packed corpus, its tokeniser and the base, too."""

    packed: PackedTexts
    tokeniser: Tokeniser
    base: BaseModel


class Encoded(NamedTuple):
    """The encoder's answer for a view: hidden states (B, W, width), and the texts' embeddings (B, width).

    words (V, width): the encoder's word embeddings, which decode masked tokens.
    """

    hidden: Tensor
    pooled: Tensor
    words: Tensor


class Objective(DrawnObjective):
    """One self-supervised objective on a corpus. A new one is one subclass and one entry in `OBJECTIVES`."""

    pairs: ClassVar[bool] = False  # are its inputs pairs of texts, and token type 1 among them?
    corpus: CorpusData

    def terms(self, batch: DrawnBatch) -> int | Tensor:
        """The tokens that are asked for, where `targets` names `positions`; else the texts."""
        targets = batch.targets[self.name]
        if "known" in targets:  # filled up, see `fixed`
            return targets["known"].sum()
        return len(targets["positions"]) if "positions" in targets else len(batch)

    def embedding(self, encoded: Mapping[str, Encoded]) -> Tensor:
        return encoded[CLEAN].pooled


def choose(content: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """`rate` of each row's content (B, W) bool by lot, rounded, one token at least: flat positions (M,), ascending."""
    keys = torch.rand(content.shape, generator=generator, device=content.device, dtype=torch.float64)
    keys = keys.masked_fill(~content, 2.0)
    sizes = content.sum(1)
    quota = torch.minimum((rate * sizes).round().clamp(min=1), sizes).long()
    rank = keys.argsort(1).argsort(1)
    return (rank < quota[:, None]).flatten().nonzero().squeeze(1)
