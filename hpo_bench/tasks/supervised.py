"""A task on a corpus: labels of a kind, a metric, and the corpus's objectives. A modality adds how it embeds rows."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any, Self

import torch
from torch import Tensor, nn

from hpo_bench.tasks.base import Labelled, Metric, Pretrainable, Task
from hpo_bench.tasks.targets import Target


class CorpusTask(Task):
    """Pretraining is the corpus's, loss and scores are the target's; what is left to write is `embed`."""

    def __init__(
        self,
        name: str,
        metric: Metric,
        target: Target,
        train: Labelled,
        valid: Labelled,
        corpus: Pretrainable,
        *,
        embedding_width: int,
        base_id: str = "none",
    ) -> None:
        self.name, self.metric, self.target = name, metric, target
        self.train, self.valid, self.corpus = train, valid, corpus
        self.objectives, self.device = corpus.objectives, corpus.device
        self.embedding_width, self.base_id = embedding_width, base_id

    @property
    def draws_on(self) -> torch.device:
        return self.corpus.draws_on

    def narrowed(self, names: Collection[str]) -> Self:
        twin = copy.copy(self)
        twin.corpus = self.corpus.narrowed(names)
        twin.wanted, twin.passes = twin.corpus.wanted, twin.corpus.passes
        return twin

    def build_model(self) -> nn.Module:
        return self.corpus.build_model()

    def draw_batch(self, size: int, generator: torch.Generator) -> Any:
        return self.corpus.draw_batch(size, generator)

    def draw_parts(self, size: int, most: int, generator: torch.Generator) -> list[Any]:
        return self.corpus.draw_parts(size, most, generator)

    def terms(self, batch: Any) -> Tensor:
        return self.corpus.terms(batch)

    @property
    def compares_rows(self) -> tuple[str, ...]:
        return self.corpus.compares_rows

    def objective_losses(self, model: nn.Module, batch: Any) -> Tensor:
        return self.corpus.objective_losses(model, batch)

    def task_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.target.loss(outputs, labels)

    def decode(self, outputs: Tensor) -> Tensor:
        return self.target.decode(outputs)

    def solve_probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.target.probe(features, labels)
