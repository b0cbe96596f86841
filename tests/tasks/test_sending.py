"""Nested values arrive as they were, in one piece."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from hpo_bench.tasks.sending import row_count, rows, sent


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


def test_a_tuple_is_cut_by_its_tensors_rows():
    """`len` of a tuple is the number of its fields."""
    batch = (torch.arange(10), {"noise": torch.randn(10, 3)})
    assert row_count(batch) == row_count({"a": batch}) == 10
    ids, more = rows(batch, 4, 7)
    assert ids.tolist() == [4, 5, 6]
    assert torch.equal(more["noise"], batch[1]["noise"][4:7])
    with pytest.raises(TypeError, match="without a tensor"):
        row_count(())
