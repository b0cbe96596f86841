"""Checks that are put off on an accelerator: they say the same, and nothing waits before the last pass."""

from __future__ import annotations

import copy

import pytest
import torch
from tapweight_problems import Networks
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hpo_bench.core.captured import CapturedStep
from tapweight import Finetuning, HypergradientFailure, Pretraining, finite, hypergradient, solvers

RECORDED = "a recorded pass"


@pytest.fixture
def far(monkeypatch):
    """Every tensor counts as an accelerator's."""
    monkeypatch.setattr(finite, "_far", lambda value: True)


class Reads(TorchDispatchMode):
    """What is read from tensors, and the passes between, in order."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "equal", "nonzero"):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))

    def capture(self, run):
        """Runs the same closure again, as a graph would be replayed."""

        def replay():
            mark = len(self.seen)
            run()
            self.seen[mark:] = [RECORDED]

        return replay


def recorded(problem, reads, loss=None):
    def capture(body):
        return CapturedStep(body, reads.capture)

    return (
        Pretraining(problem.pretraining.module, problem.losses, capture=capture),
        Finetuning(problem.finetuning.module, loss or problem.loss, gamma=problem.gamma, capture=capture),
    )


def after_two(problem, levels, **options):
    """The levels' hypergradient once everything is recorded."""
    given = {"last_step": "forward", "known_losses": known(problem, levels[0]), "seed": 0, **options}
    for _ in range(3):
        hypergradient(*levels, problem.lam, **problem.batches, **given)
    return lambda: hypergradient(*levels, problem.lam, **problem.batches, **given)


def known(problem, pretraining):
    with torch.no_grad():
        each = [pretraining.losses(pretraining.module, batch) for batch in problem.batches["pretrain_batches"]]
    return torch.stack(each).mean(0)


@pytest.mark.parametrize("last_step", ["forward", "jvp"])
def test_nothing_is_read_between_the_passes(far, last_step):
    """Read early, a number would leave the accelerator idle until the host has prepared the next pass."""
    problem, reads = Networks(0), Reads()
    options = {} if last_step == "forward" else {"last_step": "jvp", "known_losses": None}
    update = after_two(problem, recorded(problem, reads), **options)
    reads.seen.clear()
    with reads:
        update()
    passes = len(problem.batches["valid_batches"]) + len(problem.batches["pretrain_batches"])
    first = reads.seen.index(RECORDED)
    assert reads.seen[:first] == ["_local_scalar_dense"] * 2  # of the weights, which are the host's
    assert reads.seen[first : first + passes] == [RECORDED] * passes
    assert reads.seen[first + passes :] == ["_local_scalar_dense"]  # the loss, beside the checks' `tolist`


def test_numbers_on_the_processor_are_looked_at_at_once():
    with finite.read_together(), pytest.raises(HypergradientFailure, match="it is not finite"):
        finite.require_finite("it", torch.tensor([1.0, float("nan")]))


def looked_at(numbers, failure=None):
    with finite.read_together():
        for what, number in numbers.items():
            finite.require_finite(what, torch.tensor(number))
        if failure:
            raise failure


def test_what_was_put_off_is_read_on_leaving_in_its_order(far):
    overflows = [3e38, 3e38]  # finite, and its float32 sum is not
    looked_at({"the first": overflows})
    with pytest.raises(HypergradientFailure, match="the second is not finite"):
        looked_at({"the first": overflows, "the second": [1.0, float("inf")], "the third": [float("nan")]})


def test_outside_nothing_is_put_off(far):
    with pytest.raises(HypergradientFailure):
        finite.require_finite("it", torch.tensor([float("nan")]))


def test_a_failure_that_an_earlier_number_explains_gives_way_to_it(far):
    with pytest.raises(HypergradientFailure, match="the cause is not finite"):
        looked_at({"the cause": [float("nan")]}, HypergradientFailure("an effect"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"last_step": "forward"},
        {"finetune_solver": solvers.ConjugateGradient(3, damping=10.0)},
        {"pretrain_solver": solvers.ConjugateGradient(3, damping=10.0)},
        {"levels": 2},
    ],
    ids=["identity", "forward", "fine-tuning solved", "pretraining solved", "joint"],
)
def test_the_first_cause_is_named_whoever_would_stumble_over_it(far, options):
    problem = Networks(0)

    def broken(module, batch):
        return problem.loss(module, batch) * float("nan")

    tuned = copy.deepcopy(problem.finetuning.module)
    if options.get("levels") == 2:
        tuned.encoder = problem.pretraining.module.encoder
    pretraining = Pretraining(problem.pretraining.module, problem.losses)
    finetuning = Finetuning(tuned, broken, gamma=problem.gamma)
    with pytest.raises(HypergradientFailure, match="the validation loss or its gradient is not finite"):
        hypergradient(pretraining, finetuning, problem.lam, **problem.batches, **options)
    assert pretraining.first_use.forward_mode is None  # a direction of NaN says nothing about forward mode


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_waits_for_the_last_numbers_alone(recwarn):
    from hpo_bench.core.captured import as_graphs

    torch.manual_seed(0)
    module = nn.Module()
    module.encoder, module.head = nn.Linear(5, 7).cuda(), nn.Linear(7, 3).cuda()
    tuned = copy.deepcopy(module)

    def losses(module, x):
        return module.head(module.encoder(x).tanh()).square().mean(0)

    levels = (
        Pretraining(module, losses, capture=as_graphs),
        Finetuning(tuned, lambda m, x: losses(m, x).sum(), gamma=0.1, capture=as_graphs),
    )
    x, weights = torch.randn(4, 5, device="cuda"), torch.full((3,), 1 / 3)
    given = {"pretrain_batches": [x], "train_batches": [x], "valid_batches": [x], "last_step": "forward"}
    for _ in range(4):
        hypergradient(*levels, weights, known_losses=losses(module, x).detach(), **given)
    known_losses = losses(module, x).detach()
    recwarn.clear()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        hypergradient(*levels, weights, known_losses=known_losses, **given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in recwarn if "synchronizing" in str(each.message)]
    assert len(waits) <= 2, waits  # the checks' sums, and the validation loss
