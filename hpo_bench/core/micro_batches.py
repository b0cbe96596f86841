"""A batch that does not fit into the device's memory: it passes through in parts, whose gradients are summed.

Rows and random choices are those of the whole batch, and each part's losses count by their share of the terms that a
loss is the mean of (hidden atoms, say, not rows). So the gradient is the whole batch's up to rounding, but for what
sees the other rows: objectives that compare rows see those of a part, batch norm takes a part's statistics, and dropout
draws anew for each part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hpo_bench.core.protocol import Protocol
from hpo_bench.tasks.base import Pretrainable, Task
from hpo_bench.tasks.sending import bounds


@dataclass(frozen=True)
class MicroBatches:
    """One batch in parts."""

    parts: tuple[Any, ...]


def draw(task: Pretrainable, protocol: Protocol, generator: torch.Generator) -> Any:
    """The batch of a step: whole, or in parts where the protocol says so."""
    if not protocol.in_parts:
        return task.draw_batch(protocol.batch_size, generator)
    assert protocol.micro_batch_size is not None
    return MicroBatches(tuple(task.draw_parts(protocol.batch_size, protocol.micro_batch_size, generator)))


def parts_of(batch: Any) -> tuple[Any, ...]:
    """The parts of a batch; of a whole one itself."""
    return batch.parts if isinstance(batch, MicroBatches) else (batch,)


def shares(task: Pretrainable, batch: Any) -> Iterator[tuple[Any, Tensor | None]]:
    """Each part with its share (K,) in each objective's mean; a whole batch with None."""
    if not isinstance(batch, MicroBatches):
        yield batch, None
        return
    terms = torch.stack([task.terms(part) for part in batch.parts])
    yield from zip(batch.parts, terms / terms.sum(0).clamp(min=1), strict=True)


def summed(losses: Sequence[Tensor]) -> Tensor:
    """The losses (K,) of a batch from what its parts add to them."""
    return losses[0] if len(losses) == 1 else torch.stack(tuple(losses)).sum(0)


def objective_losses(task: Pretrainable, model: nn.Module, batch: Any) -> Tensor:
    """Losses (K,) of a batch with their graph, whether it is in parts or not."""
    each = ((task.objective_losses(model, part), share) for part, share in shares(task, batch))
    return summed([losses if share is None else losses * share for losses, share in each])


def labelled_parts(index: Tensor, labels: Tensor, most: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Rows `index` (B,) in parts of `most` at most, each with its share () of the labels (N, L) that are there."""
    cuts = bounds(len(index), len(index) if most is None else most)
    if len(cuts) == 1:
        yield index, None
        return
    parts = [index[start:end] for start, end in cuts]
    known = torch.stack([(~labels[part].isnan()).sum() for part in parts])
    yield from zip(parts, (known / known.sum().clamp(min=1)).float(), strict=True)


def cautions(task: Task, protocol: Protocol) -> list[str]:
    """What a batch of one row, or one in parts, means for losses and batch norm, as sentences for the record."""
    if protocol.batch_size == 1 and task.compares_rows:
        names = ", ".join(task.compares_rows)
        return [f"batch_size=1: {names} compares the rows of a batch, which has one: its loss tells nothing"]
    if not protocol.in_parts:
        return []
    size, found = f"micro_batch_size={protocol.micro_batch_size}", []
    if task.compares_rows:
        names = ", ".join(task.compares_rows)
        found.append(f"{size}: {names} compares the rows of a part alone, so its loss is not that of the whole batch")
    if task.batch_norm:
        found.append(f"{size}: batch norm takes the statistics of a part, so results differ from whole batches")
    return found
