"""One thread, and the closed-form task: it trains in milliseconds and its optimum is known."""

import os
import sys
from pathlib import Path

# pytest puts this folder on the path, where tests/tapweight would pass for the package of that name.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HPO_BENCH_THREADS", "1")

import pytest
from hypothesis import settings

# A busy machine is not a failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# What starts Ray or kills processes: one after another, in one of xdist's workers.
ALONE = (
    "tests/search/test_workers",
    "tests/search/test_pbt",
    "tests/search/test_cluster",
    "tests/study/",
    "tests/test_kills",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`pytest -n 2` keeps together what shares a start of Ray, an unbroken run of a method, or a module's fixtures."""
    from xdist.scheduler import LoadScopeScheduling

    class Rooms(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, rest = nodeid.partition("::")
            if file.startswith(ALONE) or "[pbt]" in rest:
                return "alone"
            return rest.partition("[")[2] if file == "tests/search/test_contract.py" else file

    return Rooms(config, log)


QUICK = {"steps": 24, "batch_size": 16, "learning_rate": 0.01, "epochs": 3, "patience": 3, "adapt_batch_size": 32}


@pytest.fixture
def loaded():
    """The quadratic task with its test split beside it."""
    import torch

    from hpo_bench.tasks.quadratic import load

    torch.set_num_threads(1)
    return load(torch.device("cpu"))


@pytest.fixture
def make_problem(loaded):
    """`make_problem(seed=0, budget="4", task=None, **protocol)`: a problem with a fresh meter."""
    from hpo_bench.core.budget import Budget
    from hpo_bench.core.meter import CostMeter
    from hpo_bench.core.problem import Problem
    from hpo_bench.core.protocol import Protocol

    def make(seed=0, budget="4", task=None, **protocol):
        task = task or loaded.task
        rules = Protocol(**{**QUICK, **protocol})
        return Problem(task, rules, seed, Budget.parse(budget), CostMeter(rules.batch_size, task.device))

    return make
