import os

import numpy as np
import pytest
import torch

from hpo_bench.core.device import check_precision, prepare_process, products, resolve_device, to_device
from hpo_bench.errors import UserError


def test_auto_is_what_the_machine_has():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UserError) as caught:
        resolve_device(name)
    assert caught.value.remedy


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_those_of_the_environment(monkeypatch, threads):
    monkeypatch.setenv("HPO_BENCH_THREADS", "1")
    assert prepare_process(4) == 1 == torch.get_num_threads()
    monkeypatch.delenv("HPO_BENCH_THREADS")
    assert prepare_process(10**6) == 1


@pytest.mark.parametrize("value", ["two", "0", "-1"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("HPO_BENCH_THREADS", value)
    with pytest.raises(UserError, match="HPO_BENCH_THREADS"):
        prepare_process()


@pytest.mark.parametrize(("processes", "each"), [(1, 8), (2, 4), (4, 2), (8, 1), (3, 2), (16, 1)])
def test_processes_share_the_cores(monkeypatch, threads, processes, each):
    monkeypatch.delenv("HPO_BENCH_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert prepare_process(processes) == each == torch.get_num_threads()


def test_numbers_of_the_host_arrive_as_float32():
    values = to_device(np.array([0.25, 0.75]), torch.device("cpu"))
    assert values.dtype is torch.float32
    assert values.tolist() == [0.25, 0.75]


def test_numbers_go_to_an_accelerator_from_pinned_memory_without_waiting(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: calls.append((args, options)) or self)
    to_device(np.ones(2), torch.device("cuda"))
    assert calls == ["pin", ((torch.device("cuda"),), {"non_blocking": True})]


def test_tf32_is_for_cuda_alone():
    with pytest.raises(UserError, match="tf32"):
        check_precision(torch.device("cpu"), "tf32")
    check_precision(torch.device("cuda"), "tf32")


def test_what_torch_was_told_of_products_holds_again_afterwards():
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    for precision in ("tf32", "fp32", "bf16"):
        with products(precision):
            assert matmul.allow_tf32 is (precision == "tf32")
        assert matmul.allow_tf32 is before
