"""An unlabelled corpus of texts with its objectives: all that continued pretraining needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hpo_bench.tasks.corpus import DrawnCorpus
from hpo_bench.tasks.objective import DrawnBatch, Truth, select
from hpo_bench.tasks.sending import bounds, rows
from hpo_bench.tasks.text.encoder import BaseModel, TextEncoder
from hpo_bench.tasks.text.fixed import fixed, widths
from hpo_bench.tasks.text.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, CorpusData, Encoded
from hpo_bench.tasks.text.packed import PackedTexts, Tokens
from hpo_bench.tasks.text.tokens import Tokeniser

_SIZE_SAMPLE = 24  # batches by which the usual widths are found


class TextCorpus(DrawnCorpus):
    """Texts without labels, the model, and the vector of losses.

    Args:
        texts: the corpus, each of them an input of its own. limit: tokens of an input; longer texts are cut.
        objectives: names from `objectives.OBJECTIVES`.
        seed: decides the fresh heads and the labels of `noise`.
        truth: the task's labels of the corpus, if it has any: for planted objectives.

    All views of a step go through the encoder in one pass, each view once, whoever reads it.
    """

    def __init__(
        self,
        texts: Sequence[str],
        base: BaseModel,
        tokeniser: Tokeniser,
        *,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        limit: int = 128,
        device: torch.device | str = "cpu",
        seed: int = 0,
        truth: Truth | None = None,
    ) -> None:
        kinds, device = select(OBJECTIVES, objectives, "objective on text"), torch.device(device)
        self.base = base
        self.data_hash = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        self.packed = PackedTexts(tokeniser.tokenise(texts), None, tokeniser.frame, limit)  # on `draws_on`
        size = len(self.packed)
        data = CorpusData(
            size=size, device=device, seed=seed, truth=truth, packed=self.packed, tokeniser=tokeniser, base=base
        )
        made = [kind(data) for kind in kinds]
        self._known_widths: dict[Any, tuple[int, ...]] = {}
        super().__init__(made, base.encoder, base.width, size=size, device=device, seed=seed)

    @property
    def baseline_losses(self) -> dict[str, float]:
        """The unit of each objective's loss, in nats."""
        return {kind.name: kind.baseline_loss for kind in self._objectives}

    @property
    def draws_on(self) -> torch.device:
        """The processor, also for an accelerator: a seed means the same batch on every device."""
        return torch.device("cpu")

    def clean(self, index: Tensor) -> Tokens:
        return self.packed.batch(index)

    def batch_at(self, index: Tensor, generator: torch.Generator) -> DrawnBatch:
        return self._placed(super().batch_at(index, generator))

    def draw_parts(self, size: int, most: int, generator: torch.Generator) -> list[DrawnBatch]:
        whole = super().batch_at(self.draw_rows(size, generator), generator)
        return [self._placed(_part(whole, start, end)) for start, end in bounds(len(whole), most)]

    def _placed(self, batch: DrawnBatch) -> DrawnBatch:
        if self.device.type == "cpu":
            return batch
        return fixed(batch, self.packed.limit, self.device, self.usual_widths(len(batch)))

    def usual_widths(self, size: int) -> tuple[int, ...]:
        """Widths of all buckets but the last, with room for nearly every batch of `size` texts.

        They are found by a sample that is always the same.
        """
        key = (size, self.wanted)
        if key not in self._known_widths:
            sources = [torch.Generator().manual_seed(seed) for seed in range(_SIZE_SAMPLE)]
            drawn = (super(TextCorpus, self).batch_at(self.draw_rows(size, one), one) for one in sources)
            each = [widths(batch, self.packed.limit)[:-1] for batch in drawn]
            self._known_widths[key] = tuple(max(column) for column in zip(*each, strict=True))
        return self._known_widths[key]

    def encode(self, encoder: TextEncoder, views: Mapping[str, Tokens]) -> dict[str, Encoded]:
        hidden, words = encoder(list(views.values())), encoder.word_embeddings
        return {
            name: Encoded(states, encoder.pool(states, view), words)
            for (name, view), states in zip(views.items(), hidden, strict=True)
        }


def _part(batch: DrawnBatch, start: int, end: int) -> DrawnBatch:
    """Texts start, …, end − 1 of a batch of the processor."""
    views = {name: rows(view, start, end) for name, view in batch.views.items()}
    targets = {
        name: _between(each, batch.views[name].ids.shape[1], start, end)
        if "positions" in each
        else {key: value[start:end] for key, value in each.items()}
        for name, each in batch.targets.items()
    }
    return DrawnBatch(batch.index[start:end], views, targets)


def _between(targets: Mapping[str, Tensor], width: int, start: int, end: int) -> dict[str, Tensor]:
    """Targets at flat `positions` (M,) of a view that is `width` wide, of texts start, …, end − 1."""
    row = targets["positions"] // width
    there = (row >= start) & (row < end)
    kept = {name: values[there] for name, values in targets.items()}
    return kept | {"positions": kept["positions"] - start * width}
