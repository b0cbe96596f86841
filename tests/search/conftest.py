"""One Ray session for all tests of this folder: starting one takes seconds."""

import os
import time
from contextlib import ExitStack

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HPO_BENCH_THREADS", "1")


class SharedRay:
    """A Ray session with two CPUs, started anew where Ray has lost one of them.

    Now and then Ray does not give back the CPU of a worker that was killed, and the next test would wait for ever.
    """

    def __init__(self, folder):
        self._folder = folder
        self.stack = ExitStack()
        self._start()

    def _start(self):
        from hpo_bench.search.session import ray_session

        self.stack.enter_context(ray_session(self._folder, 2))

    def make_ready(self, patience=20.0):
        import ray

        end = time.monotonic() + patience
        while ray.available_resources().get("CPU", 0) < 2:
            if time.monotonic() > end:
                self.stack.close()
                return self._start()
            time.sleep(0.1)


_shared = []


@pytest.fixture(scope="session")
def ray_running(tmp_path_factory):
    shared = SharedRay(tmp_path_factory.mktemp("ray"))
    _shared.append(shared)
    with shared.stack:
        yield


@pytest.fixture(autouse=True)
def _every_cpu_is_free():
    for shared in _shared:
        shared.make_ready()
