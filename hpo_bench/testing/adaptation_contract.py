"""What every way of adapting an encoder must do.

A plug-in author, with the entry point installed, inherits the suite:

class TestMyWay(AdaptationContract):
    @pytest.fixture
    def mode(self):
        return "my_way"
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpo_bench import registry
from hpo_bench.core.adaptation import Adapted, adapt, adaptation, score
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.records.journal import Journal
from hpo_bench.testing.problems import quick_problem


class AdaptationContract:
    """Supply the fixture `mode`, a registered name; `task` and `task_options` name another task where one is needed."""

    task = "quadratic"
    task_options: dict[str, Any] = {"network": True}  # noqa: RUF012 (nobody writes to it)

    @pytest.fixture
    def mode(self) -> str:
        raise NotImplementedError("supply a fixture `mode`")

    def problem(self, mode: str, **options: Any) -> Problem:
        settings = {"epochs": 3, "adapt_batch_size": 32, **options}
        return quick_problem("9", task=self.task, task_options=self.task_options, mode=mode, **settings)

    def adapted(self, problem: Problem, encoder: nn.Module | None = None) -> Adapted:
        encoder = problem.task.build_model().get_submodule("encoder") if encoder is None else encoder
        return adapt(problem.task, encoder, problem.protocol, problem.seed, problem.meter)

    def test_costs_at_most_what_it_says(self, mode: str) -> None:
        problem = self.problem(mode)
        self.adapted(problem)
        assert 0 < problem.meter.snapshot().step_equivalents <= problem.adaptation_cost * (1 + 1e-9)

    def test_the_value_is_the_model_s_score_on_valid(self, mode: str) -> None:
        problem = self.problem(mode)
        found = self.adapted(problem)
        assert score(problem.task, found.model, problem.task.valid, problem.meter) == found.value

    def test_a_model_that_is_kept_gives_the_same_score(self, mode: str, tmp_path: Path) -> None:
        problem, way = self.problem(mode), adaptation(mode)
        found = self.adapted(problem)
        way.save(tmp_path / "kept.safetensors", found.model)
        kept = way.load(tmp_path / "kept.safetensors", problem.task, problem.protocol, problem.seed)
        assert score(problem.task, kept, problem.task.valid, problem.meter) == found.value

    def test_the_encoder_that_was_given_is_not_changed(self, mode: str) -> None:
        problem = self.problem(mode)
        encoder = problem.task.build_model().get_submodule("encoder")
        before = copy.deepcopy(encoder.state_dict())
        self.adapted(problem, encoder)
        after = encoder.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert all(parameter.requires_grad for parameter in encoder.parameters())

    def test_the_same_seed_gives_the_same_score(self, mode: str) -> None:
        values = []
        for other in (1, 2):
            torch.manual_seed(other)  # the global generator is what must not matter
            values.append(self.adapted(self.problem(mode)).value)
        assert values[0] == values[1]

    def test_an_encoder_that_is_not_finite_is_told_as_divergence(self, mode: str) -> None:
        problem = self.problem(mode)
        encoder = problem.task.build_model().get_submodule("encoder")
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.fill_(float("nan"))
        with pytest.raises(Diverged):
            self.adapted(problem, encoder)

    def test_weights_are_learned_beside_it(self, mode: str, tmp_path: Path) -> None:
        """`implicit` sees the task as `level_two` says, and its result is adapted in this way."""
        problem = self.problem(mode, steps=30)
        method = registry.load(registry.METHODS, "implicit")(warmup=4)
        assert method.supports(problem).ok, method.supports(problem).reason
        found = method.search(problem, Journal.open(tmp_path, problem.meter))
        assert problem.meter.snapshot().step_equivalents <= method.expected_cost(problem) * (1 + 1e-9)
        kept = adaptation(mode).load(found.as_searched, problem.task, problem.protocol, problem.seed)
        assert score(problem.task, kept, problem.task.valid, problem.meter) == found.value
