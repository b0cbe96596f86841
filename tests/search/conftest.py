"""One Ray session for all tests of this folder: starting one takes seconds."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HPO_BENCH_THREADS", "1")


@pytest.fixture(scope="session")
def ray_running(tmp_path_factory):
    from hpo_bench.search.workers import ray_session

    with ray_session(tmp_path_factory.mktemp("ray"), 2):
        yield
