import json
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpo_bench.core.cost import Cost
from hpo_bench.core.meter import CostMeter, peak_memory

WORK = ["step_equivalents", "flops", *(f"seconds_{p}" for p in ("pretraining", "adaptation", "hypergradient"))]
costs = st.builds(
    Cost, **{name: st.integers(0, 10**9).map(float) for name in WORK}, peak_memory_bytes=st.integers(0, 2**40)
)


@pytest.fixture
def meter():
    return CostMeter(32, torch.device("cpu"))


def test_passes_count_by_samples(meter):
    meter.passes(32, forward=1, backward=1)
    assert meter.total.step_equivalents == 3
    meter.passes(16, forward=1)
    assert meter.total.step_equivalents == 3.5
    meter.passes(64, backward=2)
    assert meter.total.step_equivalents == 11.5


def test_calibrated_flops_of_a_matrix_product_are_2mnk(meter):
    m, n, k = 24, 5, 7
    left, right = torch.randn(m, n), torch.randn(n, k, requires_grad=True)
    meter.calibrate("product", m, lambda: left @ right)
    meter.passes(m, forward=1, kind="product")
    assert meter.total.flops == 2 * m * n * k
    meter.passes(m, forward=1, backward=1, kind="product")
    assert meter.total.flops == 4 * 2 * m * n * k
    meter.passes(m, forward=1, kind="another")
    assert meter.total.flops == 4 * 2 * m * n * k


def test_nested_phases_are_exclusive_and_add_up_to_the_wall_clock(meter):
    before = time.perf_counter()
    with meter.phase("orchestration"):
        inside = time.perf_counter()
        with meter.phase("pretraining"):
            time.sleep(0.02)
            with meter.phase("evaluation"):
                time.sleep(0.03)
        with pytest.raises(KeyError), meter.phase("adaptation"):
            raise KeyError
        within = time.perf_counter() - inside
    around = time.perf_counter() - before
    bill = meter.snapshot()
    assert within <= bill.seconds <= around
    assert bill.seconds_pretraining >= 0.02
    assert bill.seconds_evaluation >= 0.03
    assert bill.seconds_orchestration <= around - 0.05
    assert bill.seconds_adaptation > 0
    assert bill.seconds_training == bill.seconds_pretraining + bill.seconds_adaptation


def test_time_outside_all_phases_is_not_billed(meter):
    with meter.phase("evaluation"):
        pass
    billed = meter.snapshot().seconds
    time.sleep(0.01)
    assert meter.snapshot().seconds == billed


def test_a_snapshot_holds_the_phase_that_is_running_and_does_not_change_later(meter):
    with meter.phase("pretraining"):
        time.sleep(0.01)
        first = meter.snapshot()
        seconds = first.seconds_pretraining
        assert seconds >= 0.01
        meter.passes(32, forward=1)
        time.sleep(0.01)
    assert first.step_equivalents == 0
    assert first.seconds_pretraining == seconds
    assert meter.snapshot().seconds_pretraining >= seconds + 0.01
    assert first.peak_memory_bytes > 10 * 2**20  # this process has torch in memory


def test_the_heartbeat_is_called_after_every_pass_with_the_pass_on_the_bill(meter):
    seen = []
    meter.heartbeat = lambda: seen.append(meter.total.step_equivalents)
    meter.passes(32, forward=1)
    meter.passes(32, forward=1, backward=1)
    assert seen == [1, 4]


def test_what_another_process_spent_is_added(meter):
    meter.passes(32, forward=1)
    meter.add(Cost(step_equivalents=5, seconds_evaluation=2))
    meter.passes(32, forward=1)
    assert meter.snapshot().step_equivalents == 7
    assert meter.snapshot().seconds_evaluation == 2


@given(costs, costs)
def test_sums_and_differences(a, b):
    total = a + b
    assert total.seconds == a.seconds + b.seconds
    assert total.step_equivalents == a.step_equivalents + b.step_equivalents
    assert total.peak_memory_bytes == max(a.peak_memory_bytes, b.peak_memory_bytes)
    rest = total - b
    assert [getattr(rest, name) for name in WORK] == [getattr(a, name) for name in WORK]


@given(costs)
def test_json_gives_the_cost_back(cost):
    assert Cost.from_json(json.loads(json.dumps(cost.to_json()))) == cost
    assert Cost.from_json({**cost.to_json(), "of_a_later_version": 1}) == cost


def test_a_system_without_a_count_of_memory_has_a_meter(monkeypatch):
    assert peak_memory(torch.device("cpu")) > 0
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory(torch.device("cpu")) == 0


def test_the_peak_on_the_bill_is_the_devices_and_of_this_bill(monkeypatch):
    """By logic: a stand-in for CUDA's counters. One meter's start must not lose what another has seen."""
    peak = 7000

    def reset(device):
        nonlocal peak
        peak = 100

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    search = CostMeter(32, torch.device("cuda"))
    assert search.snapshot().peak_memory_bytes == 100  # what was before it does not count
    peak = 5000
    assert search.snapshot().peak_memory_bytes == 5000
    retraining = CostMeter(32, torch.device("cuda"))
    peak = 300
    assert retraining.snapshot().peak_memory_bytes == 300
    assert search.snapshot().peak_memory_bytes == 5000
    search.add(Cost(peak_memory_bytes=9000))  # a worker's
    assert search.snapshot().peak_memory_bytes == 9000
