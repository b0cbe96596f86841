"""What the objectives look at: an augmented drawing, its tiles shuffled, a rectangle of it hidden.

All random choices are drawn at once, as `Choices`; applying them is a function of the images and the choices alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

JIGSAW, MASKED = "jigsaw", "masked"
GRID = 3
JIGSAW_CLASSES = 101  # class 0: nothing is shuffled
WHOLE_RATE = 0.8  # share of images whose tiles are left in place whatever the lot says, as in ImageMol
GREY_RATE = 0.2
_MASK_SHARE = 16 / 224  # side of the hidden square over the side of the image


@dataclass(frozen=True)
class Choices:
    """The random choices for B images.

    mirrored (B,) and grey (B,) bool, angle (B,) in degrees, order (B,) int64 from 0 to 100, and the upper left corner
    (B, 2) int64 of the hidden square.
    """

    mirrored: Tensor
    grey: Tensor
    angle: Tensor
    order: Tensor
    corner: Tensor


def draw_choices(count: int, size: int, generator: torch.Generator) -> Choices:
    """Choices for `count` images of `size` pixels; always the same draws, whichever views are then made."""
    device = generator.device

    def uniform() -> Tensor:
        return torch.rand(count, generator=generator, device=device)

    mirrored, grey, angle = uniform() < 0.5, uniform() < GREY_RATE, 360 * uniform()
    whole = uniform() < WHOLE_RATE
    order = torch.randint(JIGSAW_CLASSES, (count,), generator=generator, device=device)
    corner = torch.randint(size - mask_side(size) + 1, (count, 2), generator=generator, device=device)
    return Choices(mirrored, grey, angle, order.masked_fill(whole, 0), corner)


def mask_side(size: int) -> int:
    """Side of the hidden square: 16 of 224 pixels, as in ImageMol, and in proportion otherwise."""
    return max(1, round(_MASK_SHARE * size))


def augment(colours: Tensor, choices: Choices) -> Tensor:
    """Images (B, 3, S, S), white is 1, mirrored, greyed and turned about their centre; what comes in is white."""
    from kornia.color import rgb_to_grayscale
    from kornia.geometry.transform import hflip, rotate

    def where(chosen: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
        return torch.where(chosen[:, None, None, None], changed, kept)

    colours = where(choices.mirrored, hflip(colours), colours)
    colours = where(choices.grey, rgb_to_grayscale(colours).expand_as(colours), colours)
    return 1 - rotate(1 - colours, choices.angle)  # it fills with 0: of the negative, that is white


def shuffle_tiles(images: Tensor, order: Tensor) -> Tensor:
    """Images (B, 3, S, S) whose 3 x 3 tiles are permuted by row `order` (B,) of `tile_orders`.

    A remainder of one or two columns and rows, white in a drawing, stays where it is.
    """
    count, channels, size, _ = images.shape
    tile = size // GRID
    side = GRID * tile
    tiles = images[:, :, :side, :side].reshape(count, channels, GRID, tile, GRID, tile)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).reshape(count, GRID**2, channels, tile, tile)
    chosen = _orders_on(images.device)[order]
    rows = torch.arange(count, device=images.device)[:, None]
    tiles = tiles[rows, chosen].reshape(count, GRID, GRID, channels, tile, tile).permute(0, 3, 1, 4, 2, 5)
    shuffled = images.clone()
    shuffled[:, :, :side, :side] = tiles.reshape(count, channels, side, side)
    return shuffled


def hide_square(images: Tensor, corner: Tensor) -> Tensor:
    """Images (B, C, S, S) with a square at `corner` (B, 2) painted in the mean of its image's channel."""
    size = images.shape[-1]
    side, line = mask_side(size), torch.arange(size, device=images.device)
    inside = (line >= corner[:, :, None]) & (line < corner[:, :, None] + side)  # (B, 2, S)
    hidden = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
    return torch.where(hidden, images.mean((2, 3), keepdim=True), images)


@cache
def _orders_on(device: torch.device) -> Tensor:
    return torch.from_numpy(tile_orders()).to(device)  # once: a copy at every step would stall an accelerator


@cache
def tile_orders() -> np.ndarray:
    """Orders of the nine tiles (101, 9) int64: the identity, then 100 that are far apart.

    Chosen greedily for the largest Hamming distance (Noroozi and Favaro 2016, arXiv 1603.09246, algorithm 1, which
    starts from a permutation by lot): the next one has the largest smallest distance to those before; among equals, the
    largest sum of distances; among those, the first in lexicographic order. No random number is involved.
    """
    every = np.array(list(permutations(range(GRID**2))), dtype=np.int8).T.copy()  # (9, 362880)
    smallest = np.full(every.shape[1], GRID**2, dtype=np.int32)
    total = np.zeros(every.shape[1], dtype=np.int32)
    chosen = [0]  # the identity comes first in lexicographic order
    while len(chosen) < JIGSAW_CLASSES:
        distance = np.zeros(every.shape[1], dtype=np.int32)
        for place, tile in zip(every, every[:, chosen[-1]], strict=True):
            distance += place != tile
        np.minimum(smallest, distance, out=smallest)
        total += distance  # at most 9 x 100
        chosen.append(int((1024 * smallest + total).argmax()))
    return every[:, chosen].T.astype(np.int64)
