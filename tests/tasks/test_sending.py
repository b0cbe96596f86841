"""Nested values arrive as they were, in one piece."""

from typing import NamedTuple

import torch
from torch import Tensor

from hpo_bench.tasks.sending import sent


class Pair(NamedTuple):
    one: Tensor
    two: Tensor | None


def test_what_is_sent_arrives_as_it_was():
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        whole = torch.randint(9, (7, 5 + seed), generator=draw)
        value = {
            "a": whole,
            "b": Pair(torch.rand(seed, generator=draw), None),
            "c": [whole.T, whole > 3, torch.zeros(0)],
            "d": 4,
            "e": (whole.double(), whole[0, 0]),
        }
        there = sent(value, torch.device("cpu"))
        tensors = [there["a"], there["b"].one, *there["c"], *there["e"]]
        expected = [value["a"], value["b"].one, *value["c"], *value["e"]]
        for found, given in zip(tensors, expected, strict=True):
            assert found.dtype == given.dtype
            assert torch.equal(found, given)
        assert there["d"] == 4
        assert there["b"].two is None
        assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 1
