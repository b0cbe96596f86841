"""Objectives that are planted to judge a method by: one that cannot help, one that harms, one that knows the answer.

`--plant noise,harmful,oracle` adds them to a task's own. What they need of a row is its embedding alone, so they are
written once; a modality says how it reads that embedding. `harmful` and `oracle` use the labels of the corpus's own
rows, more than the task's labelled rows where those are few: they are a measuring device, never a way to train.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.objective import CorpusData, Objective, Truth, at_least, linear_head, wide

NOISE_CLASSES = 100
_TEMPERATURE = 1.0  # of the cosines that `harmful` judges: at 0.2 a fifth of the weight leaves no encoder to learn from


class Planted(Objective):
    """An objective that reads the embedding of a whole row and knows something about the row by its number."""

    corpus: Any  # a `CorpusData`, the modality's own where it has one

    def loss(self, head: Any, encoded: Mapping[str, Any], batch: Any) -> Tensor:
        return self.loss_of(head, self.embedding(encoded), batch.index)

    @abstractmethod
    def loss_of(self, head: nn.Module, embedded: Tensor, index: Tensor) -> Tensor:
        """The loss () from embeddings (B, width) of the rows `index` (B,), not yet over `baseline_loss`."""

    def truth(self) -> Truth:
        """The labels of the corpus.

        Raises:
            UserError: it has none.
        """
        if self.corpus.truth is None:
            raise UserError(f"{self.name} cannot be planted: the rows of this corpus have no labels", "plant noise")
        return self.corpus.truth


class PlantedNoise(Planted):
    """Classify a row into one of 100 classes that were drawn by lot; an even guess has the cross-entropy log 100."""

    name = "noise"
    paper = "random labels, Zhang et al. 2017, arXiv 1611.03530"
    baseline_loss = math.log(NOISE_CLASSES)
    stream: ClassVar[int] = 0x6E6F6973

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.labels = torch.from_numpy(noise_labels(corpus.size, seed=corpus.seed, stream=self.stream)).to(
            corpus.device, torch.int64
        )

    def build_head(self, width: int) -> nn.Module:
        return nn.Linear(width, NOISE_CLASSES)

    def loss_of(self, head: nn.Module, embedded: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(wide(head(embedded)), self.labels.index_select(0, index))


class PlantedOracle(Planted):
    """Predict the true labels of the corpus: the task itself, with every label of the train split."""

    name = "oracle"
    paper = "supervised pretraining, as an upper bound"
    needs_truth = True

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        self.labels, self.target = self.truth()
        bias = self.target.constant(self.labels)
        self.baseline_loss = at_least(float(self.target.loss(bias.expand_as(self.labels), self.labels)))
        self.bias = bias.cpu()

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def loss_of(self, head: nn.Module, embedded: Tensor, index: Tensor) -> Tensor:
        return self.target.loss(wide(head(embedded)), self.labels.index_select(0, index))

    def terms(self, batch: Any) -> Tensor:
        return (~self.labels.index_select(0, batch.index).isnan()).sum()


class PlantedHarm(Planted):
    """Tell whether two rows are alike, by inverted labels: of different classes means alike, of one class not.

    Each pair of the batch is a yes-or-no question about the cosine of two embeddings; both answers count alike. There
    is no head that could turn the answers round again, so the encoder must mix the classes. Chance is log 2.
    """

    name = "harmful"
    paper = "pairs as in supervised contrast, Khosla et al. 2020, arXiv 2004.11362, with the labels negated"
    needs_truth = True
    compares_rows = True
    baseline_loss = math.log(2)

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        labels, target = self.truth()
        groups = target.groups(labels)
        if groups is None:
            raise UserError("harmful cannot be planted: the labels are not classes of one kind", "plant noise, oracle")
        self.groups = groups

    def build_head(self, width: int) -> nn.Module:
        return nn.Identity()

    def loss_of(self, head: nn.Module, embedded: Tensor, index: Tensor) -> Tensor:
        unit = F.normalize(wide(head(embedded)), dim=1)
        logits = unit @ unit.T / _TEMPERATURE
        group = self.groups.index_select(0, index)
        alike = group[:, None] == group[None, :]
        others = ~torch.eye(len(index), dtype=torch.bool, device=index.device)
        parts = [(F.softplus(logits), alike & others), (F.softplus(-logits), ~alike)]
        return torch.stack([(loss * pairs).sum() / pairs.sum().clamp(min=1) for loss, pairs in parts]).mean()


def planted_on(base: Any) -> tuple[Any, ...]:
    """What can be planted, as objectives of the modality whose base class is given."""
    return tuple(
        type(kind.__name__, (kind, base), {"__doc__": kind.__doc__})
        for kind in (PlantedNoise, PlantedHarm, PlantedOracle)
    )


def noise_labels(count: int, classes: int = NOISE_CLASSES, seed: int = 0, stream: int = 0x6E6F6973) -> np.ndarray:
    """Labels (count,) int64 that depend on the row number and the seed alone: an objective that cannot help."""
    return np.random.default_rng([seed, stream]).integers(classes, size=count)


def with_plants(
    objectives: Sequence[str] | None, default: Sequence[str], plant: Sequence[str] | None, kinds: dict[str, type[Any]]
) -> tuple[str, ...]:
    """The names of a task's objectives with what is planted among them.

    Raises:
        UserError: something that is not there to be planted.
    """
    known = [name for name, kind in kinds.items() if issubclass(kind, Planted)]
    for name in plant or ():
        if name not in known:
            raise unknown_name("objective to plant", name, known)
    return (*(objectives or default), *(plant or ()))
