"""Memory that does not suffice: what is told, and evaluation that goes on with smaller parts."""

import numpy as np
import pytest
import torch

from hpo_bench.__main__ import main
from hpo_bench.core.adaptation import AdaptedModel, features_of, predict
from hpo_bench.core.memory import by_parts, memory_told
from hpo_bench.core.valid_gradient import ValidGradient
from hpo_bench.errors import Doubt, UserError

CUDA_SAYS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.06 GiB is "
    "free. Including non-PyTorch memory, this process has 78.04 GiB memory in use."
)


class Small:
    """A device that holds so many rows of a pass: any more raise what torch raises."""

    def __init__(self, real, most):
        self.real, self.most, self.passed = real, most, []

    def __call__(self, encoder, inputs, index):
        if len(index) > self.most:
            raise torch.OutOfMemoryError(CUDA_SAYS)
        self.passed.append(len(index))
        return self.real(encoder, inputs, index)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (torch.OutOfMemoryError(CUDA_SAYS), "2.00 GiB more were needed, 1.06 GiB of 79.11 GiB were free"),
        (torch.OutOfMemoryError("CUDA out of memory"), "suffice: CUDA out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "CUBLAS_STATUS"),
    ],
)
def test_it_is_told_in_a_sentence_with_what_to_do(said, told, monkeypatch, capsys):
    def full(**_):
        raise said

    with pytest.raises(UserError, match="does not suffice") as caught, memory_told():
        full()
    assert told in caught.value.message
    assert "micro_batch_size" in caught.value.remedy
    monkeypatch.setattr("hpo_bench.cli.app", full)
    with pytest.raises(SystemExit, match="2"):
        main()
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_a_processor_without_memory_too():
    with pytest.raises(UserError, match="does not suffice"), memory_told():
        torch.empty(1 << 60, dtype=torch.uint8)


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes") as caught, memory_told():
        raise RuntimeError("shapes do not fit")
    assert not isinstance(caught.value, UserError)


def test_evaluation_goes_on_with_smaller_parts(make_problem, monkeypatch):
    problem = make_problem()
    task, encoder = problem.task, problem.task.build_model().encoder
    model = AdaptedModel.start(task, encoder, problem.protocol, 0)
    expected = predict(task, model, task.valid, problem.meter)
    small = Small(task.embed, 11)
    monkeypatch.setattr(task, "embed", small)
    with pytest.warns(Doubt, match="80 rows: 40 at a time"):
        found = predict(task, model, task.valid, problem.meter)
    assert np.array_equal(expected, found)
    assert task.eval_batch_size == 10
    assert small.passed == [10] * 8
    assert type(task).eval_batch_size == 512  # other tasks' stays
    rows = torch.arange(30)
    assert torch.equal(
        features_of(task, encoder, task.train, rows, problem.meter),
        small.real(encoder, task.train.inputs, rows),
    )


def test_a_gradient_that_is_passed_in_parts_counts_no_part_twice(make_problem, network, monkeypatch):
    problem = make_problem(task=network)
    encoder = network.build_model().encoder
    loss, gradient = ValidGradient(network, 0, problem.meter)(encoder, 0)
    monkeypatch.setattr(network, "embed", Small(network.embed, 25))
    with pytest.warns(Doubt):
        same, other = ValidGradient(network, 0, problem.meter)(encoder, 0)
    assert same == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-7)


def test_a_row_that_does_not_fit_is_the_end(make_problem):
    def full(part):
        raise torch.OutOfMemoryError(CUDA_SAYS)

    task = make_problem().task
    with pytest.warns(Doubt), pytest.raises(torch.OutOfMemoryError):
        by_parts(task, torch.arange(5), full)


def test_another_error_is_not_tried_again(make_problem):
    calls = []

    def wrong(part):
        calls.append(len(part))
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        by_parts(make_problem().task, torch.arange(5), wrong)
    assert calls == [5]
