"""An unlabelled corpus of texts with its objectives: all that continued pretraining needs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hpo_bench.tasks.base import Pretrainable
from hpo_bench.tasks.text.encoder import BaseModel, TextEncoder
from hpo_bench.tasks.text.fixed import fixed
from hpo_bench.tasks.text.objectives import DEFAULT_OBJECTIVES, CorpusData, Encoded, TextBatch, select
from hpo_bench.tasks.text.packed import PackedTexts
from hpo_bench.tasks.text.tokens import Tokeniser


class TextModel(nn.Module):
    """`encoder` and `heads`, one head per objective."""

    def __init__(self, encoder: TextEncoder, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, heads


class TextCorpus(Pretrainable):
    """Texts without labels, the model, and the vector of losses.

    Args:
        texts: the corpus, each of them an input of its own. limit: tokens of an input; longer texts are cut.
        objectives: names from `objectives.OBJECTIVES`.
        seed: decides the fresh heads and the labels of `noise`.

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
    ) -> None:
        kinds = select(tuple(objectives))
        self.objectives = tuple(objectives)
        self.device, self.base, self.seed = torch.device(device), base, seed
        self.data_hash = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        self.packed = PackedTexts(tokeniser.tokenise(texts), None, tokeniser.frame, limit)  # on `draws_on`
        data = CorpusData(self.packed, tokeniser, base, seed)
        self._objectives = [kind(data) for kind in kinds]
        self._chance = torch.tensor([kind.chance for kind in self._objectives], device=self.device)
        heads = {kind.name: _seeded(kind, base.width, seed) for kind in self._objectives}
        self._base = TextModel(base.encoder, nn.ModuleDict(heads)).to(self.device)

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def chances(self) -> dict[str, float]:
        """The unit of each objective's loss, in nats."""
        return {kind.name: kind.chance for kind in self._objectives}

    @property
    def draws_on(self) -> torch.device:
        """The processor, also for an accelerator: a seed means the same batch on every device."""
        return torch.device("cpu")

    def build_model(self) -> TextModel:
        """A fresh copy of the base on the device: bit-identical at every call."""
        return copy.deepcopy(self._base)

    def draw_batch(self, size: int, generator: torch.Generator) -> TextBatch:
        """`size` different texts (all of them, if the corpus is smaller), and every objective's random choices.

        The generator must live on `draws_on`, the processor. Texts are drawn first, so the texts of a step do not
        depend on the choice of objectives.
        """
        return self.batch_at(torch.randperm(len(self), generator=generator)[:size], generator)

    def batch_at(self, index: Tensor, generator: torch.Generator) -> TextBatch:
        clean = self.packed.batch(index)
        drawn = {kind.name: kind.draw(index, clean, generator) for kind in self._objectives}
        views = {name: view for one in drawn.values() for name, view in one.views.items()}
        batch = TextBatch(index, views, {name: one.targets for name, one in drawn.items()})
        return batch if self.device.type == "cpu" else fixed(batch, self.packed.limit, self.device)

    def objective_losses(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """Losses (K,) in the order of `objectives`, each about 1 at chance."""
        encoder: Any = model.encoder
        heads: Any = model.heads
        hidden = encoder(list(batch.views.values()))
        encoded = {
            name: Encoded(states, encoder.pool(states, view))
            for (name, view), states in zip(batch.views.items(), hidden, strict=True)
        }
        losses = [kind.loss(heads[kind.name], encoder, encoded, batch.targets[kind.name]) for kind in self._objectives]
        # One division by a tensor: by a number, a forward-mode tangent would turn into float64.
        return torch.stack(losses) / self._chance


def _seeded(kind: Any, width: int, seed: int) -> nn.Module:
    """A head initialised from (seed, its name), leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + int.from_bytes(kind.name.encode(), "big")) % 2**63)
        return kind.build_head(width)
