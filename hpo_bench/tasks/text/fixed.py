"""Batches of few shapes for an accelerator, drawn on the processor and sent over in one piece.

As with molecules (`molecule.padded`): the host knows every size, nothing has to be read back, and one captured step
serves all batches of a shape. Views share one width, a multiple of a quarter of the longest input. Through the encoder
rows go in buckets of like length, whose widths are agreed but for the last one's, which the longest rows decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.tasks.objective import DrawnBatch
from hpo_bench.tasks.sending import sent
from hpo_bench.tasks.text.packed import Tokens

_LEFT_OUT = -100  # the target that cross-entropy leaves out
_BUCKETS, _LEAST_ROWS = 4, 32  # an accelerator gains from few large passes
_TILE = 8  # widths are multiples: matrix units work on tiles


def fixed(batch: DrawnBatch, limit: int, device: torch.device, usual: tuple[int, ...] = ()) -> DrawnBatch:
    """A batch of the processor on `device`.

    Args:
        limit: the longest input's tokens.
        usual: the agreed `widths` of all buckets but the last; a batch that needs more gets widths of its own.
    """
    step, (*need, longest) = -(-limit // 4), widths(batch, limit)
    if len(usual) != len(need) or any(mine < yours for mine, yours in zip(usual, need, strict=True)):
        usual = tuple(min(-(-one // step) * step, limit) for one in need)
    width = max(min(-(-longest // step) * step, limit), *usual, 0)
    views = {name: replace(_widened(view, width), widths=(*usual, width)) for name, view in batch.views.items()}
    targets = {
        name: _padded(each, batch.views[name].ids.shape[1], width) if "positions" in each else each
        for name, each in batch.targets.items()
    }
    return sent(DrawnBatch(batch.index, views, targets), device)


def widths(batch: DrawnBatch, limit: int) -> tuple[int, ...]:
    """The widths that the buckets of a batch need: those of its longest rows, rounded up."""
    sizes = torch.cat([view.sizes for view in batch.views.values()]).sort().values
    buckets = max(1, min(_BUCKETS, len(sizes) // _LEAST_ROWS))
    ends = [int(part[-1]) for part in sizes.split(-(-len(sizes) // buckets))]
    return tuple(min(-(-end // _TILE) * _TILE, limit) for end in ends)


def _widened(view: Tokens, width: int) -> Tokens:
    more = (0, width - view.ids.shape[1])
    types = None if view.types is None else F.pad(view.types, more)
    # Told on the host, so that attention without a mask needs no look at the device.
    full = bool((view.sizes == width).all())
    return replace(view, ids=F.pad(view.ids, more), content=F.pad(view.content, more), types=types, full=full)


def _padded(targets: Mapping[str, Tensor], before: int, width: int) -> dict[str, Tensor]:
    """Targets at flat `positions` (M,) of a view that was `before` wide; what is added is left out of the loss."""
    positions = targets["positions"]
    count = len(positions)
    more = (0, -count % max(64, width))
    known = torch.arange(count + more[1]) < count
    padded = {name: F.pad(values, more) for name, values in targets.items()}
    padded["positions"] = F.pad(positions // before * width + positions % before, more)
    padded["known"] = known.float()
    if "ids" in targets:
        padded["ids"] = padded["ids"].masked_fill(~known, _LEFT_OUT)
    return padded
