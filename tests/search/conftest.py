"""One Ray session for all tests of this folder: starting one takes seconds."""

import os
import time
from contextlib import ExitStack

import pytest

from hpo_bench.testing import child

child.FIRST_USED += ["torchjd.aggregation", "optuna", "hpo_bench.search.branches"]  # of many methods

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


@pytest.fixture
def ray_running(tmp_path_factory):
    """The session, which ends with the last test of this folder: Ray's own processes are never quite idle."""
    if _shared:
        _shared[0].make_ready()
    else:
        _shared.append(SharedRay(tmp_path_factory.mktemp("ray")))


def pytest_runtest_teardown(item, nextitem):
    if _shared and (nextitem is None or item.path.parent not in nextitem.path.parents):
        _shared.pop().stack.close()
