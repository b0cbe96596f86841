"""The unlabelled corpus of continued pretraining: a model with a head per objective, and the vector of losses."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from hpo_bench.tasks.base import Pretrainable
from hpo_bench.tasks.objective import DrawnBatch, seeded


class Model(nn.Module):
    """`encoder` and `heads`, one head per objective."""

    encoder: Any

    def __init__(self, encoder: nn.Module, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, heads


class Corpus(Pretrainable):
    """`size` rows without labels, K objectives on them; a modality says what a batch is and how it is encoded.

    Args:
        kinds: the objectives, ready made, in the order of the weights.
        encoder: the base's encoder; every model starts from a copy of it. width: of its embeddings.
        seed: decides the fresh heads.
    """

    def __init__(
        self, kinds: Sequence[Any], encoder: nn.Module, width: int, *, size: int, device: torch.device, seed: int
    ) -> None:
        self.size, self.device, self.seed, self.embedding_width = size, device, seed, width
        self._objectives = list(kinds)
        self.objectives = tuple(kind.name for kind in self._objectives)
        self._baseline_losses = torch.tensor([kind.baseline_loss for kind in self._objectives], device=device)
        heads = {kind.name: seeded(partial(kind.build_head, width), seed, kind.name) for kind in self._objectives}
        self._base = Model(encoder, nn.ModuleDict(heads)).to(device)

    def __len__(self) -> int:
        return self.size

    def narrowed(self, names: Collection[str]) -> Self:
        every, twin = len(self.read), copy.copy(self)
        twin.wanted = tuple(name for name in self.objectives if name in names)
        twin.passes = self.passes * len(twin.read) / every
        return twin

    def wants(self, kind: Any) -> bool:
        """Is the objective's loss asked for?"""
        return not self.wanted or kind.name in self.wanted

    def views_of(self, kind: Any) -> Collection[str]:
        """The views that an objective reads."""
        return kind.views  # type: ignore[no-any-return]

    @property
    def read(self) -> frozenset[str]:
        """The views that are read at all, and so the passes of a step."""
        return frozenset(view for kind in self._objectives if self.wants(kind) for view in self.views_of(kind))

    def build_model(self) -> Model:
        """A fresh copy of the base on the device: bit-identical at every call."""
        return copy.deepcopy(self._base)

    def draw_batch(self, size: int, generator: torch.Generator) -> Any:
        """`size` different rows (all of them, if the corpus is smaller), and every random choice.

        The generator must live on `draws_on`. Rows are drawn first, so the rows of a step do not depend on the choice
        of objectives.
        """
        return self.batch_at(self.draw_rows(size, generator), generator)

    def draw_rows(self, size: int, generator: torch.Generator) -> Tensor:
        """The rows (B,) of a batch."""
        return torch.randperm(len(self), generator=generator, device=self.draws_on)[:size]

    @abstractmethod
    def batch_at(self, index: Tensor, generator: torch.Generator) -> Any:
        """The batch of the rows `index` (B,), with every random choice made."""

    def terms(self, batch: Any) -> Tensor:
        found = [kind.terms(batch) if self.wants(kind) else 0 for kind in self._objectives]
        return torch.stack([torch.as_tensor(one, device=self.device, dtype=torch.float32) for one in found])

    @property
    def compares_rows(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in self._objectives if kind.compares_rows)

    def losses_of(self, heads: nn.Module, encoded: Mapping[str, Any], batch: Any) -> Tensor:
        """Losses (K,) in the order of `objectives`, from what the encoder made of the views.

        Each is about 1 for the best constant predictor.
        """
        found = {
            kind.name: kind.loss(heads.get_submodule(kind.name), encoded, batch)
            for kind in self._objectives
            if self.wants(kind)
        }
        nothing = torch.zeros_like(next(iter(found.values())))
        losses = [found.get(name, nothing) for name in self.objectives]
        # One division by a tensor: by a number, a forward-mode tangent would turn into float64.
        return torch.stack(losses) / self._baseline_losses


class DrawnCorpus(Corpus):
    """A corpus whose objectives draw their own views; a view goes through the encoder once, whoever reads it."""

    @abstractmethod
    def clean(self, index: Tensor) -> Any:
        """The rows `index` (B,) as they are."""

    @abstractmethod
    def encode(self, encoder: Any, views: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the encoder makes of the views, by their names."""

    def batch_at(self, index: Tensor, generator: torch.Generator) -> DrawnBatch:
        clean = self.clean(index)
        every = [(kind, kind.draw(index, clean, generator)) for kind in self._objectives]
        drawn = {kind.name: one for kind, one in every if self.wants(kind)}
        views = {name: view for one in drawn.values() for name, view in one.views.items()}
        return DrawnBatch(index, views, {name: one.targets for name, one in drawn.items()})

    def views_of(self, kind: Any) -> Collection[str]:
        return self._views_of[kind.name]

    @cached_property
    def _views_of(self) -> dict[str, tuple[str, ...]]:
        """By the objectives' names; what they draw says it."""
        index = torch.arange(min(2, len(self)), device=self.draws_on)
        clean, source = self.clean(index), torch.Generator(self.draws_on)
        return {kind.name: tuple(kind.draw(index, clean, source).views) for kind in self._objectives}

    def objective_losses(self, model: nn.Module, batch: DrawnBatch) -> Tensor:
        return self.losses_of(model.get_submodule("heads"), self.encode(model.encoder, batch.views), batch)
