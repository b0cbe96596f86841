"""Views against what they must be by hand: tiles, hidden squares, augmentation, and who draws the lots."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpo_bench.tasks.image.views import (
    Choices,
    augment,
    draw_choices,
    hide_square,
    mask_side,
    shuffle_tiles,
    tile_orders,
)


def no_change(count: int) -> Choices:
    no = torch.zeros(count, dtype=torch.bool)
    return Choices(no, no, torch.zeros(count), no.long(), torch.zeros(count, 2, dtype=torch.int64))


def test_orders_are_a_hundred_far_permutations_and_the_identity():
    orders = tile_orders()
    assert orders.shape == (101, 9)
    assert orders[0].tolist() == list(range(9))
    assert (np.sort(orders, axis=1) == np.arange(9)).all()
    distance = (orders[:, None] != orders[None]).sum(2)
    apart = distance[np.triu_indices(101, 1)]
    assert apart.min() >= 6
    assert apart.mean() > 8, "permutations by lot are 8 apart on average"
    assert (distance[:9, :9] + 9 * np.eye(9) == 9).all(), "a Latin square comes first: nothing is further apart"


def test_tiles_move_as_the_order_says():
    image = torch.arange(9.0).repeat_interleave(3).reshape(3, 9).repeat_interleave(3, 0).reshape(1, 1, 9, 9)
    padded = torch.nn.functional.pad(image, (0, 1, 0, 1), value=-1.0).expand(2, 3, 10, 10)
    shuffled = shuffle_tiles(padded, torch.tensor([0, 5]))
    assert torch.equal(shuffled[0], padded[0])
    assert shuffled[1, 0, 1:9:3, 1:9:3].reshape(-1).tolist() == tile_orders()[5].tolist()
    assert (shuffled[1, :, 9, :] == -1).all()


def test_a_square_takes_the_mean_of_its_channel():
    images = torch.rand(2, 3, 28, 28)
    hidden = hide_square(images, torch.tensor([[0, 0], [26, 13]]))
    assert mask_side(28) == 2
    assert mask_side(224) == 16
    assert torch.allclose(hidden[0, :, :2, :2], images[0].mean((1, 2))[:, None, None].expand(3, 2, 2))
    assert torch.allclose(hidden[1, :, 26:, 13:15], images[1].mean((1, 2))[:, None, None].expand(3, 2, 2))
    assert (hidden != images).any(1).sum((1, 2)).tolist() == [4, 4]


def test_augmentation_does_what_was_chosen():
    images = torch.rand(4, 3, 16, 16)
    choices = no_change(4)
    assert torch.allclose(augment(images, choices), images, atol=1e-5)
    yes = torch.tensor([True, False, False, False])
    mirrored = augment(images, Choices(yes, torch.zeros_like(yes), choices.angle, choices.order, choices.corner))
    assert torch.allclose(mirrored[0], images[0].flip(2), atol=1e-5)
    grey = augment(images, Choices(torch.zeros_like(yes), yes, choices.angle, choices.order, choices.corner))
    assert torch.allclose(grey[0, 0], grey[0, 2])
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose(grey[0, 0], (weights * images[0]).sum(0), atol=1e-4)
    quarter = augment(
        images,
        Choices(torch.zeros_like(yes), torch.zeros_like(yes), torch.full((4,), 90.0), choices.order, choices.corner),
    )
    assert torch.allclose(quarter, images.rot90(1, (2, 3)), atol=1e-4)


def test_what_turning_brings_in_is_white():
    black = torch.zeros(1, 3, 32, 32)
    choices = no_change(1)
    turned = augment(black, Choices(choices.grey, choices.grey, torch.tensor([45.0]), choices.order, choices.corner))
    assert turned[0, :, 0, 0].tolist() == pytest.approx([1, 1, 1])
    assert turned[0, :, 16, 16].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_shares_of_the_choices(generator):
    choices = draw_choices(20_000, 64, generator)
    assert choices.mirrored.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert choices.grey.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (choices.order == 0).float().mean().item() == pytest.approx(0.8 + 0.2 / 101, abs=0.02)
    assert choices.order.unique().tolist() == list(range(101))
    assert choices.angle.mean().item() == pytest.approx(180, abs=5)
    assert choices.corner.min() == 0
    assert choices.corner.max() == 64 - mask_side(64)


def test_a_step_does_not_depend_on_the_objectives(smiles):
    from hpo_bench.tasks.image import ImageCorpus

    narrow = {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
    one = ImageCorpus(smiles, ("cluster_100",), size=32, encoder=narrow)
    all_ = ImageCorpus(smiles, ("jigsaw", "mask_contrast", "cluster_100"), size=32, encoder=narrow)
    first, second = (c.draw_batch(8, torch.Generator().manual_seed(3)) for c in (one, all_))
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.order, second.order)
    assert list(first.views) == ["jigsaw"], "no view is made that no objective reads"
    assert torch.equal(first.views["jigsaw"], second.views["jigsaw"])
