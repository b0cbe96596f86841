"""What is trained on. The core knows a domain through the class `Task` alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.tasks.sending import bounds, row_count, rows


@dataclass(frozen=True)
class Metric:
    """A score of a labelled split; `compute(scores, labels)` takes two (N, L) arrays, NaN where a label is missing."""

    name: str
    higher_is_better: bool
    compute: Callable[[np.ndarray, np.ndarray], float]

    def better(self, a: float, b: float) -> bool:
        """Is `a` strictly better than `b`?"""
        return a > b if self.higher_is_better else a < b


@dataclass(frozen=True)
class Labelled:
    """One split. `inputs` belongs to the task that made it; `labels` (N, L), user's units, NaN = missing.

    Values are float64, since float32 holds neither 1e39 nor 1e9 and a little; for classes float32 is enough.
    """

    name: str
    inputs: Any
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])


_GRADIENT_ALONE: ContextVar[bool] = ContextVar("gradient_alone", default=False)
_PLANNING: ContextVar[bool] = ContextVar("planning", default=False)


@contextmanager
def _inside(where: ContextVar[bool]) -> Iterator[None]:
    token = where.set(True)
    try:
        yield
    finally:
        where.reset(token)


def gradient_alone() -> AbstractContextManager[None]:
    """Inside, passes are training steps: nothing asks for forward-mode or second derivatives, a model may be quick."""
    return _inside(_GRADIENT_ALONE)


def only_gradient_needed() -> bool:
    """Is this a pass inside `gradient_alone`?"""
    return _GRADIENT_ALONE.get()


def planning() -> AbstractContextManager[None]:
    """Inside, a task is loaded to be asked what methods cost on it, and to be compared with records; it trains nothing.

    A loader may then leave out inputs. Objectives, model, labels and `content` are what they are.
    """
    return _inside(_PLANNING)


def only_planned() -> bool:
    """Is this inside `planning`?"""
    return _PLANNING.get()


class Pretrainable(ABC):
    """K self-supervised objectives on an unlabelled corpus, and a model: all that continued pretraining needs.

    Random numbers: `draw_batch` makes every random choice of a step (molecules, masks, noise) from the generator that
    it is given; `objective_losses` may use dropout, which draws from torch's global generator, and nothing else. A
    step is therefore repeated exactly by repeating the two seeds.
    """

    objectives: tuple[str, ...]
    device: torch.device
    wanted: tuple[str, ...] = ()  # objectives that it was narrowed to, see `narrowed`; () where it was not
    passes: float = 1.0  # share of all views that a step sends through the encoder: what a step is billed by

    def narrowed(self, names: Collection[str]) -> Self:
        """The same for steps in which all other objectives have weight 0: their losses are 0, and have no gradient.

        Batches are drawn from the same random numbers. What only the others read need not go through the encoder, and
        `passes` says so; here it all does. Batch norm then remembers the statistics of what did go through.
        """
        return self

    @property
    def num_objectives(self) -> int:
        """K."""
        return len(self.objectives)

    @property
    def draws_on(self) -> torch.device:
        """Where the generator of `draw_batch` lives."""
        return self.device

    @cached_property
    def batch_norm(self) -> bool:
        """Does the model take statistics of batches? Asked of a copy of it, once."""
        norms = nn.modules.batchnorm._BatchNorm
        return any(isinstance(module, norms) for module in self.build_model().modules())

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A fresh copy of the base on `device`, always the same: submodule `encoder`, and the objectives' heads."""

    @abstractmethod
    def draw_batch(self, size: int, generator: torch.Generator) -> Any:
        """An unlabelled batch from the corpus, all its random choices made; `generator` lives on `draws_on`."""

    def batch_at(self, index: Tensor, generator: torch.Generator) -> Any:
        """The batch of the given rows (B,) of the corpus; only what a base is trained on needs it."""
        raise NotImplementedError(f"{type(self).__name__} has no rows to choose")

    def draw_parts(self, size: int, most: int, generator: torch.Generator) -> list[Any]:
        """The batch of `draw_batch`, with the same rows and random choices, in parts of `most` rows at most.

        This cuts batches each of whose tensors has a row for each row of the batch; other tasks override it.
        """
        batch = self.draw_batch(size, generator)
        return [rows(batch, start, end) for start, end in bounds(row_count(batch), most)]

    def terms(self, batch: Any) -> Tensor:
        """How many terms each objective's loss is the mean of (K,) float32; by default the rows of the batch."""
        return torch.full((self.num_objectives,), float(row_count(batch)), device=self.device)

    @property
    def compares_rows(self) -> tuple[str, ...]:
        """Objectives whose loss compares the rows of a batch: in parts, they see those of a part alone."""
        return ()

    @abstractmethod
    def objective_losses(self, model: nn.Module, batch: Any) -> Tensor:
        """The vector of losses (K,), in the order of `objectives`."""


class Task(Pretrainable):
    """A base checkpoint, objectives, and a labelled train and valid split.

    A task holds no test split: what a search method is handed cannot be asked for one. Whoever loads a task receives
    the test split beside it, in `LoadedTask`.
    """

    name: str
    metric: Metric
    train: Labelled
    valid: Labelled
    embedding_width: int
    base_id: str  # names the base checkpoint in records: its file's SHA-256, or "none"
    eval_batch_size: int = 512  # rows of one pass outside training

    @property
    def outputs(self) -> int:
        """Width of the task head."""
        return int(self.train.labels.shape[1])

    @abstractmethod
    def embed(self, encoder: nn.Module, inputs: Any, index: Tensor) -> Tensor:
        """Embeddings (B, embedding_width) of the rows `index` (B,) of a split's `inputs`."""

    @abstractmethod
    def task_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of head outputs (B, L) against labels (B, L) in the user's units; missing labels are left out."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Head outputs (N, L) as scores in the units that `metric` expects."""

    @abstractmethod
    def solve_probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The optimal linear head on frozen features (N, D): weight (L, D) and bias (L,), solved to convergence."""


@dataclass(frozen=True)
class LoadedTask:
    """What loading gives: the task for the search, the test split for the runner alone, and notes for the record.

    `content` holds SHA-256 digests in hex of what a run is made of, by `table` (the labelled rows that are used),
    `split` and `corpus`: part of a run's identity. `notices` are sentences for the person who runs it: what was
    skipped, guessed, or looks suspicious, with counts. `report` goes into the record as it is.
    """

    task: Task
    test: Labelled
    report: dict[str, Any] = field(default_factory=dict)  # source, counts, skipped rows
    content: dict[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
