"""A training step must not wait for its device: nothing in it may ask for a value, or for a shape that depends on one.

On a CPU such operations are counted as they reach the dispatcher; where CUDA is, torch is told to refuse them.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hpo_bench.core.device import to_device
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from hpo_bench.tasks.objective import on_any_corpus

EQUAL = WeightSchedule.constant([1 / len(DEFAULT_OBJECTIVES)] * len(DEFAULT_OBJECTIVES))
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "is_nonzero", "equal", "_unique2"}


class Waits(TorchDispatchMode):
    """Names of the operations that would make the host wait for an accelerator."""

    def __init__(self, host_side=()):
        super().__init__()
        self.seen, self.host_side = [], host_side

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_", "index_put") and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        on_host = name == "_local_scalar_dense" and args[0].data_ptr() in self.host_side
        if (name in WAITING or by_mask) and not on_host:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def passes(corpus, model, batch):
    """What a step of pretraining does with its batch: forward and backward."""
    corpus.objective_losses(model, batch).sum().backward()


def as_on_an_accelerator(monkeypatch, corpus):
    monkeypatch.setattr(corpus.refinement, "on", False)


@pytest.fixture
def corpus(bace):
    return MoleculeCorpus(bace[0][:60], on_any_corpus(OBJECTIVES))


def test_the_counter_counts():
    with Waits() as waits:
        values = torch.arange(4.0)
        values[values > 1].sum().item()
        torch.repeat_interleave(torch.tensor([1, 2]))
    assert waits.seen == ["index", "_local_scalar_dense", "repeat_interleave"]


@pytest.mark.parametrize("where", ["processor", "accelerator"])
def test_no_pass_of_a_pretraining_step_waits(corpus, monkeypatch, where):
    if where == "accelerator":
        as_on_an_accelerator(monkeypatch, corpus)
    batch, model = corpus.draw_batch(16, torch.Generator().manual_seed(0)), corpus.build_model().train()
    with Waits() as waits:
        passes(corpus, model, batch)
    assert waits.seen == []
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_drawing_a_batch_waits_five_times(corpus, monkeypatch):
    """The numbers of atoms (for their lots, too) and of edges, of hidden atoms and of hidden bonds, and no more."""
    as_on_an_accelerator(monkeypatch, corpus)
    with Waits() as waits:
        corpus.draw_batch(16, torch.Generator().manual_seed(0))
    assert sorted(waits.seen) == ["_local_scalar_dense", "index", "nonzero", "repeat_interleave", "repeat_interleave"]


def unbilled_steps(loaded, monkeypatch):
    """Two trainers of the core after their first step, which counts FLOPs, as if on an accelerator."""
    as_on_an_accelerator(monkeypatch, loaded.task.corpus)
    task, protocol = loaded.task, Protocol(batch_size=16, adapt_batch_size=16)
    meter = CostMeter(protocol.batch_size, task.device)
    pretrainer = Pretrainer(task, protocol, 0, meter)
    tuner = FineTuner(task, protocol, pretrainer.model.encoder, 0, meter)
    pretrainer.run(EQUAL, 1)
    tuner.step(tuner.draw_batch(0))
    return pretrainer, tuner


def host_side(optimizer):
    """Adam's counters of steps: they live on the host, so reading them is no waiting."""
    return {state["step"].data_ptr() for state in optimizer.state.values()}


def test_no_whole_step_of_pretraining_waits(loaded, monkeypatch):
    """Weights, passes, optimiser and bill; the batch is drawn before."""
    pretrainer, _ = unbilled_steps(loaded, monkeypatch)
    batch, weights = pretrainer.draw_batch(1), to_device(EQUAL.at(1), loaded.task.device)
    with Waits(host_side(pretrainer.optimizer)) as waits:
        pretrainer.step(weights, batch)
    assert waits.seen == []
    assert pretrainer.step_number == 2


def test_a_step_of_fine_tuning_waits_for_the_shapes_of_its_batch_alone(loaded, monkeypatch):
    _, tuner = unbilled_steps(loaded, monkeypatch)
    index = tuner.draw_batch(1)
    with Waits(host_side(tuner.optimizer)) as waits:
        tuner.step(index)
    assert waits.seen == ["repeat_interleave", "repeat_interleave"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_does_not_wait_either(bace):
    corpus = MoleculeCorpus(bace[0][:60], on_any_corpus(OBJECTIVES), device="cuda")
    batch, model = corpus.draw_batch(16, torch.Generator().manual_seed(0)), corpus.build_model().train()
    passes(corpus, model, batch)  # the first pass allocates and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        passes(corpus, model, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
