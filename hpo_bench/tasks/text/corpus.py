"""An unlabelled corpus of texts with its objectives: all that continued pretraining needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hpo_bench.tasks.corpus import DrawnCorpus
from hpo_bench.tasks.objective import DrawnBatch, Truth, select
from hpo_bench.tasks.text.encoder import BaseModel, TextEncoder
from hpo_bench.tasks.text.fixed import fixed
from hpo_bench.tasks.text.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, CorpusData, Encoded
from hpo_bench.tasks.text.packed import PackedTexts, Tokens
from hpo_bench.tasks.text.tokens import Tokeniser


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
        batch = super().batch_at(index, generator)
        return batch if self.device.type == "cpu" else fixed(batch, self.packed.limit, self.device)

    def encode(self, encoder: TextEncoder, views: Mapping[str, Tokens]) -> dict[str, Encoded]:
        hidden, words = encoder(list(views.values())), encoder.word_embeddings
        return {
            name: Encoded(states, encoder.pool(states, view), words)
            for (name, view), states in zip(views.items(), hidden, strict=True)
        }
