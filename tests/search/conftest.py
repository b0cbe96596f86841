"""One Ray session for all tests of this folder: starting one takes seconds."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HPO_BENCH_THREADS", "1")

# Each starts Ray in a process of its own, or trains the population again and again.
_SLOW_WITH_PBT = {
    "test_goes_on_after_a_kill",
    "test_goes_on_after_an_interruption",
    "test_same_result_in_a_fresh_process",
    "test_keeps_to_a_budget_of_step_equivalents",
}


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec and callspec.params.get("method") == "pbt" and item.originalname in _SLOW_WITH_PBT:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def ray_running(tmp_path_factory):
    from hpo_bench.search.workers import ray_session

    with ray_session(tmp_path_factory.mktemp("ray"), 2):
        yield
