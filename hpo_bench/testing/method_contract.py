"""What every way of setting objective weights must do. A plug-in author inherits the whole suite:

    class TestMyMethod(MethodContract):
        @pytest.fixture
        def method(self):
            return MyMethod()
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpo_bench import registry
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule, on_simplex
from hpo_bench.records import journal as records
from hpo_bench.records.journal import Journal
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult
from hpo_bench.testing.child import run_in_child
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.reach import reachable_tensors, shares_storage


class Interruption(KeyboardInterrupt):
    """What the tests raise in the middle of a search."""


class Watch:
    """Counts passes of the core and progress reports, and interrupts at a given one."""

    def __init__(self, at_pass: int = 0, at_report: int = 0) -> None:
        self.passes = self.reports = 0
        self._at_pass, self._at_report = at_pass, at_report

    def heartbeat(self, inner: Callable[[], None] | None) -> Callable[[], None]:
        def beat() -> None:
            if inner is not None:
                inner()
            self.passes += 1
            if self.passes == self._at_pass:
                raise Interruption

        return beat

    def report(self, progress: object) -> None:
        self.reports += 1
        if self.reports == self._at_report:
            raise Interruption


def run(
    method: ObjectiveWeightSearch, problem: Problem, folder: Path, watch: Watch | None = None
) -> tuple[SearchResult, Journal]:
    """One search in this process."""
    watch = watch or Watch()
    journal = Journal(folder, problem.meter, watch.report)
    problem.meter.heartbeat = watch.heartbeat(problem.meter.heartbeat)
    return method.search(problem, journal), journal


class MethodContract:
    """Supply the fixture `method`; override the attributes where a method needs more.

    Attributes:
        budget: trials of the quick problem that the method can work with.
        interruptions: shares of an unbroken run at which it is interrupted.
    """

    budget = "6"
    interruptions: tuple[float, ...] = (0.1, 0.5, 0.95)

    @pytest.fixture
    def method(self) -> ObjectiveWeightSearch:
        raise NotImplementedError("supply a fixture `method`")

    @pytest.fixture
    def bill_every_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records, "BILL_INTERVAL", 0.0)

    def problem(self, budget: str | None = None, **options: Any) -> Problem:
        return quick_problem(budget or self.budget, **options)

    def test_options_are_plain_values_with_defaults(self, method: ObjectiveWeightSearch) -> None:
        assert isinstance(method, ObjectiveWeightSearch)
        assert dataclasses.is_dataclass(method), "a method is a dataclass: its fields are its options"
        type(method)()  # every option has a default
        for option in dataclasses.fields(method):
            assert isinstance(getattr(method, option.name), str | int | float | bool), option.name
        assert type(method).name
        assert len(type(method).summary.splitlines()) == 1

    def test_finds_weights_on_the_simplex(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        problem = self.problem()
        assert method.supports(problem).ok, method.supports(problem).reason
        result, _ = run(method, problem, tmp_path)
        assert result.weights.shape == (problem.num_objectives,)
        for _, weights in result.schedule.pieces:
            on_simplex(weights, problem.num_objectives)
        assert math.isfinite(result.value)

    def test_refuses_a_budget_that_is_too_small(self, method: ObjectiveWeightSearch) -> None:
        support = method.supports(self.problem("1se"))
        assert not support.ok
        assert any(character.isdigit() for character in support.reason), "the reason says how much is needed"

    @pytest.mark.parametrize("unit", ["trials", "step-equivalents"])
    def test_keeps_to_the_budget(self, method: ObjectiveWeightSearch, tmp_path: Path, unit: str) -> None:
        problem = self.problem()
        if unit == "step-equivalents":
            problem = self.problem(f"{problem.allowance}se")
        _, journal = run(method, problem, tmp_path)
        assert 0 < problem.meter.snapshot().step_equivalents <= problem.allowance * (1 + 1e-9)
        if problem.budget.trials is not None:
            assert len(journal.trials) <= problem.budget.trials

    def test_bills_everything(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        problem = self.problem()
        _, journal = run(method, problem, tmp_path)
        recorded = sum(record.cost["step_equivalents"] for record in journal.trials)
        assert recorded > 0
        assert problem.meter.snapshot().step_equivalents == pytest.approx(recorded)
        assert journal.trials[-1].spent["step_equivalents"] == pytest.approx(recorded)
        assert problem.meter.snapshot().seconds_training > 0

    def test_records_are_valid(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        problem = self.problem()
        result, journal = run(method, problem, tmp_path)
        assert [record.number for record in journal.trials] == list(range(len(journal.trials)))
        spent = 0.0
        for record in journal.trials:
            assert record.state in ("done", "pruned", "diverged")
            on_simplex(record.weights, problem.num_objectives)
            assert record.state != "done" or (record.value is not None and math.isfinite(record.value))
            assert min(record.cost.values()) >= 0
            assert record.spent["step_equivalents"] >= spent
            spent = record.spent["step_equivalents"]
            if record.schedule:
                assert WeightSchedule.from_json(record.schedule).final == pytest.approx(record.weights)
        for line in journal.trajectory:
            assert 0 <= line["step"] <= problem.protocol.steps
            on_simplex(line["weights"], problem.num_objectives)
        values = [record.value for record in journal.trials if record.state == "done"]
        assert result.value in values
        assert not any(problem.metric.better(value, result.value) for value in values if value is not None)

    def test_same_seed_same_result(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        first, journal = run(method, self.problem(), tmp_path / "first")
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002 (the global generator is what must not matter)
        second, again = run(type(method)(**dataclasses.asdict(method)), self.problem(), tmp_path / "second")  # type: ignore[call-overload]
        _assert_same(first, second)
        assert [(r.weights, r.value) for r in journal.trials] == [(r.weights, r.value) for r in again.trials]

    def test_same_result_in_a_fresh_process(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        here, _ = run(method, self.problem(), tmp_path / "here")
        there = run_in_child(method, tmp_path / "there", problem={"budget": self.budget})
        assert there is not None
        assert there["weights"] == here.weights.tolist()
        assert there["value"] == here.value

    def test_trials_share_their_random_numbers(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        """The same weights, trained again, give the same score: two trials differ by their weights alone."""
        result, _ = run(method, self.problem(), tmp_path)
        if result.as_searched is not None:
            pytest.skip("the score belongs to the run's own model, not to a trial under its final weights")
        for _ in range(2):
            trial = self.problem().start_trial()
            trial.follow(result.schedule)
            assert trial.validate().value == result.value

    def test_a_finished_search_is_not_trained_again(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        first, _ = run(method, self.problem(), tmp_path)
        problem, watch = self.problem(), Watch()
        second, journal = run(method, problem, tmp_path, watch)
        _assert_same(first, second)
        assert watch.passes == 0
        assert problem.meter.snapshot().step_equivalents == pytest.approx(
            sum(record.cost["step_equivalents"] for record in journal.trials)
        )

    @pytest.mark.usefixtures("bill_every_pass")
    def test_goes_on_after_an_interruption(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        """Interrupted at several points: the result of an unbroken run, for its cost and what was lost."""
        problem, counter = self.problem(), Watch()
        whole, _ = run(method, problem, tmp_path / "whole", counter)
        cost = problem.meter.snapshot().step_equivalents
        for share in self.interruptions:
            folder = tmp_path / f"broken-{share}"
            if counter.passes:
                watch = Watch(at_pass=max(1, round(share * counter.passes)))
            else:  # trains in other processes
                watch = Watch(at_report=max(1, round(share * counter.reports)))
            with pytest.raises(Interruption):
                run(method, self.problem(), folder, watch)
            self._check_resumed(method, folder, whole, cost)

    @pytest.mark.usefixtures("bill_every_pass")
    def test_goes_on_after_a_kill(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        """SIGKILL to a whole process group, as a batch system does it."""
        problem, counter = self.problem(), Watch()
        whole, _ = run(method, problem, tmp_path / "whole", counter)
        cost, folder = problem.meter.snapshot().step_equivalents, tmp_path / "killed"
        where = {"kill_at_pass": max(1, counter.passes // 2)} if counter.passes else {"kill_at_report": 3, "delay": 0.5}
        assert run_in_child(method, folder, problem={"budget": self.budget}, **where) is None, "it was not killed"
        self._check_resumed(method, folder, whole, cost)

    def test_cannot_reach_the_test_split(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        loaded = registry.load(registry.TASKS, "quadratic")(device=torch.device("cpu"))
        problem = dataclasses.replace(self.problem(), task=loaded.task)
        _, journal = run(method, problem, tmp_path)
        tensors = list(reachable_tensors([problem, method, journal]))
        assert any(shares_storage(loaded.task.valid.labels, tensor) for tensor in tensors), "the walk sees the problem"
        assert not any(shares_storage(loaded.test.labels, tensor) for tensor in tensors)

    def _check_resumed(self, method: ObjectiveWeightSearch, folder: Path, whole: SearchResult, cost: float) -> None:
        before = [(record.weights, record.value) for record in Journal(folder, self.problem().meter).trials]
        problem = self.problem()
        result, journal = run(type(method)(**dataclasses.asdict(method)), problem, folder)  # type: ignore[call-overload]
        _assert_same(whole, result)
        assert [(record.weights, record.value) for record in journal.trials][: len(before)] == before
        lost = problem.meter.snapshot().step_equivalents - cost
        most = max(problem.trial_cost, *(record.cost["step_equivalents"] for record in journal.trials))
        assert -1e-6 <= lost <= most + 1e-6, "the bill is that of an unbroken run and at most one trial that was lost"


def _assert_same(a: SearchResult, b: SearchResult) -> None:
    assert a.schedule == b.schedule
    assert a.value == b.value
