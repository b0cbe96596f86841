"""A whole set of texts as flat tensors on one device; a batch is a few index operations there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hpo_bench.tasks.text.tokens import Frame, TokenArrays


@dataclass(frozen=True)
class Tokens:
    """B texts padded at the right to W tokens.

    ids (B, W) int64; sizes (B,) int64, tokens that count; content (B, W) bool, tokens of text (no special ones);
    types (B, W) int64, or None where the model knows no token types. On an accelerator (see `fixed`) also: full,
    whether all tokens are known to count; widths, of the buckets that the rows of all views go in, in order of length.
    """

    ids: Tensor
    sizes: Tensor
    content: Tensor
    types: Tensor | None
    full: bool | None = None
    widths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    @property
    def mask(self) -> Tensor:
        """Tokens that are no padding (B, W) bool."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.sizes[:, None]

    def with_ids(self, positions: Tensor, ids: Tensor) -> Tokens:
        """The same with other ids (M,) at flat `positions` (M,)."""
        return replace(self, ids=self.ids.flatten().scatter(0, positions, ids).view_as(self.ids))


class PackedTexts:
    """N texts, or pairs of texts, on `device`.

    Args:
        first, second: tokens without special ones; `second` for pairs.
        limit: tokens of an input, special ones included. A longer text loses its end; of a pair, the longer text does.

    Attributes:
        ids: (T,) int32, all tokens. starts, counts: (N, 1 or 2) int64, where each text lies. truncated: how many rows
            lost tokens.
    """

    def __init__(
        self,
        first: TokenArrays,
        second: TokenArrays | None,
        frame: Frame,
        limit: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.frame, self.limit, self.device = frame, limit, torch.device(device)
        parts = [first] if second is None else [first, second]
        whole = np.stack([part.counts for part in parts], axis=1)
        counts = _fitting(whole, frame.room(limit, pair=len(parts) == 2))
        starts = np.stack([np.cumsum(part.counts) - part.counts for part in parts], axis=1)
        if len(parts) == 2:
            starts[:, 1] += len(first.ids)
        self.truncated = int((counts < whole).any(axis=1).sum())
        self.ids = torch.from_numpy(np.concatenate([part.ids for part in parts])).to(self.device)
        self.starts, self.counts = torch.from_numpy(starts).to(self.device), torch.from_numpy(counts).to(self.device)

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def batch(self, index: Tensor) -> Tokens:
        """The texts `index` (B,) as inputs; pairs joined into one."""
        return self.assemble(self.starts.index_select(0, index), self.counts.index_select(0, index))

    def side(self, index: Tensor, which: int) -> Tokens:
        """One text (0 or 1) of the pairs `index` (B,) as inputs of their own."""
        starts, counts = self.starts.index_select(0, index), self.counts.index_select(0, index)
        return self.assemble(starts[:, which : which + 1], counts[:, which : which + 1])

    def assemble(self, starts: Tensor, counts: Tensor) -> Tokens:
        """Inputs from stretches of `ids`: starts, counts (B, 1 or 2), with the special tokens around them."""
        frame, pair = self.frame, counts.shape[1] == 2
        specials = torch.tensor([*frame.prefix, *frame.middle, *frame.suffix, frame.pad], device=self.device)
        before, between = len(frame.prefix), len(frame.middle) if pair else 0
        first_end = before + counts[:, :1]
        second_start = first_end + between
        second_end = second_start + (counts[:, 1:] if pair else 0)
        sizes = second_end + len(frame.suffix)
        place = torch.arange(int(sizes.max()) if len(sizes) else 0, device=self.device)[None]
        in_first = (place >= before) & (place < first_end)
        in_second = (place >= second_start) & (place < second_end)
        content = in_first | in_second
        source = torch.where(in_first, starts[:, :1] + place - before, starts[:, -1:] + place - second_start)
        # Which special token stands where: prefix, middle, suffix and padding lie one after the other in `specials`.
        special = torch.where(place < before, place, before + place - first_end)
        special = torch.where(place >= second_end, before + len(frame.middle) + place - second_end, special)
        special = special.clamp(0, len(specials) - 1)
        special = torch.where(place >= sizes, len(specials) - 1, special)
        text = self.ids.take(torch.where(content, source, 0)).long()
        types = None
        if frame.second_type is not None:
            types = ((place >= second_start) & (place < sizes) & pair).long() * frame.second_type
        return Tokens(torch.where(content, text, specials.take(special)), sizes.squeeze(1), content, types)


def _fitting(counts: np.ndarray, room: int) -> np.ndarray:
    """Counts (N, 1 or 2) that sum to `room` at most: of two texts the longer one gives way, down to half the room."""
    if counts.shape[1] == 1:
        return np.minimum(counts, room)
    first, second = counts.T
    kept_first = np.where(first + second > room, np.minimum(first, np.maximum(room // 2, room - second)), first)
    return np.stack([kept_first, np.minimum(second, room - kept_first)], axis=1)
