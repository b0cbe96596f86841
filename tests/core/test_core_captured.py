"""What a captured step does: with a stand-in that runs again what it was given, and as CUDA graphs where CUDA is."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from hpo_bench.core.captured import MOST_SHAPES, CapturedStep, CudaGraphs, described


class Pair(NamedTuple):
    one: Tensor
    two: Tensor | None


@dataclass(frozen=True)
class Batch:
    parts: dict[str, Pair]
    table: Tensor
    rows: int


class StandIn:
    """Runs nothing while it captures, and the very same closure at every replay."""

    def __init__(self):
        self.captured = 0

    def __call__(self, run):
        self.captured += 1
        return run


TABLE = torch.arange(8.0)


def a_batch(seed, size=6):
    sheet = torch.randn(2 * size, generator=torch.Generator().manual_seed(seed))  # both lie in one piece
    return Batch({"a": Pair(sheet[:size], sheet[size:]), "b": Pair(sheet[1:size], None)}, TABLE, size)


def body(values, batch):
    one, two = batch.parts["a"]
    return values * (one @ two + batch.parts["b"].one.sum() + batch.table.sum()) + batch.rows


def values(number):
    return torch.tensor([float(number), 1.0])


def test_every_step_gives_what_the_body_gives():
    capture = StandIn()
    step = CapturedStep(body, capture)
    found = [step(values(n), a_batch(n)) for n in range(6)]
    assert capture.captured == 1
    assert step.replays == 5  # the first step of a shape is eager
    for n, result in enumerate(found):
        assert torch.equal(result, body(values(n), a_batch(n)))


def test_a_replay_reads_the_place_where_the_captured_batch_lay():
    seen = []

    def spy(values, batch):
        seen.append((values, batch))
        return body(values, batch)

    step = CapturedStep(spy, StandIn())
    for n in range(4):
        step(values(n), a_batch(n))
    places = [{t.data_ptr() for t in described(one)[1]} for one in seen[1:]]
    assert places[0] == places[1] == places[2]
    assert seen[1][1] is seen[2][1]


def test_tables_that_all_batches_share_are_not_copied_again():
    step = CapturedStep(body, StandIn())
    for n in range(2):
        step(values(n), a_batch(n))
    changed = TABLE.clone()
    try:
        TABLE.add_(1)  # in place: nobody may; it shows that the copy of the table stays as it is
        assert torch.equal(step(values(2), a_batch(2)), body(values(2), replace(a_batch(2), table=changed)))
    finally:
        TABLE.copy_(changed)
    other = replace(a_batch(3), table=TABLE + 1)  # a table elsewhere is read
    assert torch.equal(step(values(3), other), body(values(3), other))


@pytest.mark.parametrize(
    "other",
    [
        lambda b: replace(b, rows=7),
        lambda b: replace(b, table=torch.arange(9.0)),
        lambda b: replace(b, parts={"a": b.parts["a"], "b": Pair(b.parts["b"].one.clone(), None)}),
        lambda b: replace(b, parts={"a": b.parts["a"], "b": Pair(b.parts["b"].one, b.parts["a"].two)}),
        lambda b: replace(b, table=b.table.double()),
    ],
    ids=["number", "length", "storage", "none", "dtype"],
)
def test_another_layout_is_another_capture(other):
    assert described(a_batch(0))[0] == described(a_batch(1))[0]
    assert described(other(a_batch(0)))[0] != described(a_batch(0))[0]


def test_shapes_beyond_the_limit_run_eagerly_and_come_out_right():
    capture = StandIn()
    step = CapturedStep(body, capture)
    for _ in range(3):
        for size in range(2, MOST_SHAPES + 5):
            assert torch.equal(step(values(size), a_batch(size, size)), body(values(size), a_batch(size, size)))
    assert capture.captured == MOST_SHAPES


def test_what_cannot_be_captured_runs_eagerly_and_says_why():
    def refuses(run):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    step = CapturedStep(body, refuses)
    step(values(0), a_batch(0))
    with pytest.warns(UserWarning, match="run eagerly.*not permitted"):
        step(values(1), a_batch(1))
    for n in range(2, 5):
        assert torch.equal(step(values(n), a_batch(n)), body(values(n), a_batch(n)))
    assert step.reason == "RuntimeError: operation not permitted when stream is capturing"
    assert step.replays == 0


def test_results_of_earlier_steps_stay():
    step = CapturedStep(body, StandIn())
    kept = [step(values(n), a_batch(n)) for n in range(5)]
    assert len({tuple(result.tolist()) for result in kept}) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_give_what_the_body_gives():
    def on_gpu(batch: Any) -> Any:
        sheet = torch.cat(batch.parts["a"]).cuda()
        size = batch.rows
        return Batch({"a": Pair(sheet[:size], sheet[size:]), "b": Pair(sheet[1:size], None)}, table, size)

    table = TABLE.cuda()
    step = CapturedStep(body, CudaGraphs())
    for n in range(6):
        batch = on_gpu(a_batch(n))
        assert torch.equal(step(values(n).cuda(), batch), body(values(n).cuda(), batch))
    assert not step.reason
    assert step.replays == 5
