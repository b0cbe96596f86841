"""`rtd`: which tokens were replaced?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.special import entr

from hpo_bench.tasks.objective import Drawn, DrawnBatch, wide
from hpo_bench.tasks.text.objectives.base import HIDDEN_RATE, CorpusData, Encoded, Objective, choose
from hpo_bench.tasks.text.packed import Tokens


class ReplacedTokens(Objective):
    """Tell which tokens were replaced: 15 % are drawn anew by a frozen generator.

    The generator is the corpus's table of neighbours: a token is replaced by one that follows its predecessor somewhere
    in the corpus (a bigram model, sampled exactly by picking an occurrence). ELECTRA trains a small network instead;
    this one costs nothing, and nothing of it is learned.
    """

    name = "rtd"
    paper = "ELECTRA, Clark et al. 2020, arXiv 2003.10555"
    baseline_loss = float(entr(torch.tensor([HIDDEN_RATE, 1 - HIDDEN_RATE])).sum())

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        ids = corpus.packed.ids.long()
        size = corpus.base.vocabulary
        # Across the border of two texts neighbours are made up, by the order of the corpus.
        self.successor = ids.roll(-1).index_select(0, ids.argsort(stable=True))
        self.count = torch.bincount(ids, minlength=size)
        self.start = self.count.cumsum(0) - self.count

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        positions = choose(clean.content, HIDDEN_RATE, generator)
        flat = clean.ids.flatten()
        before = flat.index_select(0, (positions - 1).clamp(min=0))
        count = self.count.index_select(0, before)
        lot = torch.rand(len(positions), generator=generator, device=positions.device, dtype=torch.float64)
        # A text's first token has no predecessor in the corpus: any occurrence of any token will do.
        total = len(self.successor)
        place = torch.where(count > 0, self.start.index_select(0, before) + (lot * count).long(), (lot * total).long())
        instead = self.successor.index_select(0, place.clamp(max=total - 1))
        view = clean.with_ids(positions, instead)
        judged = clean.content.flatten().nonzero().squeeze(1)
        replaced = (view.ids != clean.ids).flatten().index_select(0, judged)
        return Drawn({self.name: view}, {"positions": judged, "replaced": replaced.float()})

    def build_head(self, width: int) -> nn.Module:
        head = nn.Linear(width, 1)
        with torch.no_grad():
            head.bias.fill_(torch.logit(torch.tensor(HIDDEN_RATE)))
        return head

    def loss(self, head: Any, encoded: Mapping[str, Encoded], batch: DrawnBatch) -> Tensor:
        targets = batch.targets[self.name]
        hidden = encoded[self.name].hidden.flatten(0, 1).index_select(0, targets["positions"])
        logits = wide(head(hidden)).squeeze(1)
        if "known" not in targets:
            return F.binary_cross_entropy_with_logits(logits, targets["replaced"].to(logits.dtype))
        known, truth = targets["known"].to(logits.dtype), targets["replaced"].to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, truth, known, reduction="sum") / known.sum()
