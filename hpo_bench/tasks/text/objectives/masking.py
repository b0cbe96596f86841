"""Hidden tokens: `mlm` and `span`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.objective import Drawn, DrawnBatch, entropy, wide
from hpo_bench.tasks.text.objectives.base import HIDDEN_RATE, CorpusData, Encoded, Objective, choose
from hpo_bench.tasks.text.packed import Tokens

_LONGEST_SPAN, _SPAN_END = 10, 0.2  # SpanBERT's geometric lengths


class TokenHead(nn.Module):
    """Transform of a hidden state before the decoder, which is the word embeddings; the decoder's bias."""

    def __init__(self, width: int, bias: Tensor) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(bias.clone())

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """Logits (M, V) from hidden states (M, width)."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), word_embeddings, self.bias)


class HiddenTokens(Objective):
    """Predict the tokens that a view hides; the loss is taken at those alone, so nothing else is decoded.

    The head is the checkpoint's own where it has one; else fresh, its bias the log frequency of tokens in the corpus.
    """

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.mask = corpus.tokeniser.mask
        self.ordinary = torch.from_numpy(corpus.tokeniser.ordinary).to(corpus.packed.device)
        totals = torch.bincount(corpus.packed.ids.long(), minlength=corpus.base.vocabulary).double()
        self.baseline_loss = entropy(totals)
        smooth = totals + 1
        self.bias = (smooth / smooth.sum()).log().float().cpu()

    def build_head(self, width: int) -> nn.Module:
        head = TokenHead(width, self.bias)
        if self.corpus.base.mlm_head:
            head.load_state_dict(self.corpus.base.mlm_head)
        else:
            nn.init.normal_(head.dense.weight, std=0.02)  # as BERT's own
            nn.init.zeros_(head.dense.bias)
        return head

    def loss(self, head: TokenHead, encoded: Mapping[str, Encoded], batch: DrawnBatch) -> Tensor:
        targets = batch.targets[self.name]
        hidden = encoded[self.name].hidden.flatten(0, 1).index_select(0, targets["positions"])
        return F.cross_entropy(wide(head(hidden, encoded[self.name].words)), targets["ids"])

    def hide(self, clean: Tokens, positions: Tensor, instead: Tensor) -> Drawn:
        """The view with `instead` (M,) at flat `positions` (M,), and what stood there as targets."""
        targets = {"positions": positions, "ids": clean.ids.flatten().index_select(0, positions)}
        return Drawn({self.name: clean.with_ids(positions, instead)}, targets)


class MaskedTokens(HiddenTokens):
    """Predict 15 % of the tokens, drawn afresh each time: 80 % show the mask, 10 % another token, 10 % themselves."""

    name = "mlm"
    paper = "BERT, Devlin et al. 2019, arXiv 1810.04805; dynamic masking, RoBERTa, Liu et al. 2019, arXiv 1907.11692"

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        positions = choose(clean.content, HIDDEN_RATE, generator)
        device = positions.device
        lot = torch.rand(len(positions), generator=generator, device=device)
        other = torch.randint(len(self.ordinary), (len(positions),), generator=generator, device=device)
        kept = clean.ids.flatten().index_select(0, positions)
        instead = torch.where(lot < 0.9, self.ordinary.index_select(0, other), kept)
        return self.hide(clean, positions, torch.where(lot < 0.8, self.mask, instead))


class MaskedSpans(HiddenTokens):
    """Predict the tokens of masked spans: geometric lengths up to 10, about 15 % of the tokens, one span at least."""

    name = "span"
    paper = "SpanBERT, Joshi et al. 2020, arXiv 1907.10529 (without its boundary objective)"

    def draw(self, index: Tensor, clean: Tokens, generator: torch.Generator) -> Drawn:
        content, device = clean.content, clean.ids.device
        lengths = torch.arange(_LONGEST_SPAN, dtype=torch.float64, device=device)
        probability = (1 - _SPAN_END) ** lengths
        mean = float((probability * (lengths + 1)).sum() / probability.sum())
        keys = torch.rand(content.shape, generator=generator, device=device).masked_fill(~content, 2.0)
        first = keys == keys.amin(1, keepdim=True)  # a row in which no span would start has one here
        starts = content & ((keys < HIDDEN_RATE / mean) | first)
        drawn = torch.multinomial(probability, content.numel(), replacement=True, generator=generator) + 1
        drawn = drawn.view(content.shape) * starts
        place = torch.arange(content.shape[1], device=device)
        until = (torch.where(starts, place + drawn, 0)).cummax(1).values  # the end of the span that reaches furthest
        positions = (content & (place < until)).flatten().nonzero().squeeze(1)
        return self.hide(clean, positions, torch.full_like(positions, self.mask))
