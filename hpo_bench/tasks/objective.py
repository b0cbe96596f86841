"""What an objective is in every modality, and the helpers that theirs are made with.

An objective's loss is divided by its `baseline_loss`: the loss of the best constant predictor on the corpus at hand
(entropy of the labels, variance of the targets, log of the number of candidates). So an objective that has
learned nothing stands near 1, one that is solved near 0, and weights compare between objectives. A fresh head's bias is
that constant predictor where it can be, so training starts near 1 as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.sending import row_count
from hpo_bench.tasks.targets import Target

CLEAN = "clean"  # the view of an item as it is
_SMALLEST = 0.05  # nats or variance: a corpus whose labels hardly vary must not blow a loss up

Built = TypeVar("Built")


class Truth(NamedTuple):
    """The task's own labels (N, L) of the rows of a corpus, and what they mean: for planted objectives alone."""

    labels: Tensor
    target: Target


@dataclass(frozen=True, kw_only=True)
class CorpusData:
    """What every objective may be made from; a modality adds its own. `truth` is None where rows have no labels."""

    size: int
    device: torch.device
    seed: int
    truth: Truth | None = None


class Objective(ABC):
    """One self-supervised objective on a corpus; a modality says what its batches and the encoder's answers are."""

    name: ClassVar[str]
    paper: ClassVar[str]
    views: ClassVar[tuple[str, ...]] = (CLEAN,)  # that it reads, where the corpus draws the views
    needs_truth: ClassVar[bool] = False
    compares_rows: ClassVar[bool] = False  # does the loss compare rows of the batch with each other?

    baseline_loss: float  # loss of the best constant predictor on the corpus, > 0; the core's losses are in this unit

    def __init__(self, corpus: Any) -> None:
        self.corpus = corpus

    @abstractmethod
    def build_head(self, width: int) -> nn.Module:
        """A fresh head on embeddings of `width`, on the processor."""

    @abstractmethod
    def loss(self, head: Any, encoded: Mapping[str, Any], batch: Any) -> Tensor:
        """The loss () of a batch in its own unit, from what the encoder made of the views, by their names."""

    def terms(self, batch: Any) -> int | Tensor:
        """How many terms `loss` is the mean of: by default the batch's rows. A part's share in the batch follows it."""
        return row_count(batch)

    def embedding(self, encoded: Mapping[str, Any]) -> Tensor:
        """The embeddings (B, width) of the rows as they are; for what is planted."""
        return encoded[CLEAN]


class Drawn(NamedTuple):
    """What an objective needs of a batch: views by name (one name is one pass, whoever asks for it), and targets."""

    views: Mapping[str, Any]
    targets: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class DrawnBatch:
    """B rows of the corpus with every random choice made. index (B,): rows. targets: by the objective's name."""

    index: Tensor
    views: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Tensor]]

    def __len__(self) -> int:
        return int(self.index.shape[0])


class DrawnObjective(Objective):
    """An objective that draws its own views of a batch: what `corpus.DrawnCorpus` trains on."""

    def draw(self, index: Tensor, clean: Any, generator: torch.Generator) -> Drawn:
        """Views and targets of the rows `index` (B,), which are `clean` as they stand in the corpus."""
        return Drawn({CLEAN: clean})

    @abstractmethod
    def loss(self, head: Any, encoded: Mapping[str, Any], batch: DrawnBatch) -> Tensor:
        """As above; what was drawn for this objective is `batch.targets[self.name]`."""


def select(kinds: Mapping[str, type[Any]], names: Sequence[str], what: str = "objective") -> tuple[type[Any], ...]:
    """The classes of the named objectives, in that order.

    Raises:
        UserError: an unknown, repeated or missing name.
    """
    if not names:
        raise UserError("no objective was chosen", f"known: {', '.join(kinds)}")
    for name in names:
        if name not in kinds:
            raise unknown_name(what, name, kinds)
    if len(set(names)) < len(names):
        raise UserError(f"an objective is named twice: {', '.join(names)}", "name each once")
    return tuple(kinds[name] for name in names)


def on_any_corpus(kinds: Mapping[str, type[Any]]) -> tuple[str, ...]:
    """The names of the objectives that need no labels."""
    return tuple(name for name, kind in kinds.items() if not kind.needs_truth)


def wide(tensor: Tensor) -> Tensor:
    """Head outputs in float32 at least: losses are not taken in bf16."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def entropy(totals: Tensor | np.ndarray) -> float:
    """Entropy in nats of the shares of `totals` (classes,), floored: the loss of the best constant classifier."""
    share = torch.as_tensor(totals, dtype=torch.float64)
    share = share / share.sum().clamp(min=1)
    return at_least(float(torch.special.entr(share).sum()))


def at_least(loss: float) -> float:
    """A normaliser that is safe to divide by."""
    return max(loss, _SMALLEST)


def log_shares(totals: Tensor | np.ndarray) -> Tensor:
    """Log of the shares of `totals` (classes,) after adding one to each: the bias of a constant classifier."""
    counts = torch.as_tensor(totals, dtype=torch.float64) + 1
    return (counts / counts.sum()).log()


def linear_head(width: int, bias: Tensor) -> nn.Linear:
    """A linear head whose bias (outputs,) is given and whose weight is drawn as usual."""
    head = nn.Linear(width, len(bias))
    with torch.no_grad():
        head.bias.copy_(bias)
    return head


def seeded(build: Callable[[], Built], seed: int, name: str) -> Built:
    """Build a module on the processor from (seed, name), leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed((seed * 1_000_003 + int.from_bytes(name.encode(), "big")) % 2**63)
        return build()
