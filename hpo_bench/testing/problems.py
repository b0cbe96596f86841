"""Quick problems to test methods on: the closed-form task in a few dozen steps."""

from __future__ import annotations

from typing import Any

import torch

from hpo_bench import registry
from hpo_bench.core.budget import Budget
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.core.protocol import Protocol
from hpo_bench.tasks.base import LoadedTask


def quick_problem(
    budget: str = "6",
    *,
    seed: int = 0,
    task: str = "quadratic",
    task_options: dict[str, Any] | None = None,
    loaded: LoadedTask | None = None,
    **protocol: Any,
) -> Problem:
    """A problem of milliseconds a trial, on one thread; `protocol` overrides single settings.

    It has a spec, so methods that train in other processes can make it again there. `loaded` saves loading the task.
    """
    torch.set_num_threads(1)
    settings = {"steps": 24, "batch_size": 16, "learning_rate": 0.1, "mode": "probe", **protocol}
    device, options = torch.device("cpu"), dict(task_options or {})
    rules = Protocol(**settings)
    loaded = loaded or registry.load(registry.TASKS, task)(device=device, **options)
    assert loaded is not None
    return Problem(
        task=loaded.task,
        protocol=rules,
        seed=seed,
        budget=Budget.parse(budget),
        meter=CostMeter(rules.batch_size, device),
        spec=ProblemSpec(task, options, rules.to_json(), seed, "cpu"),
    )
