"""What every way of setting objective weights must do.

A plug-in author inherits the whole suite:

class TestMyMethod(MethodContract):
    @pytest.fixture
    def method(self):
        return MyMethod()
"""

from __future__ import annotations

import dataclasses
import math
import random
import shutil
from collections.abc import Sequence
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
from hpo_bench.search import online_run
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult
from hpo_bench.tasks.base import LoadedTask
from hpo_bench.testing.child import run_in_child
from hpo_bench.testing.devices import irreproducible_refused
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.reach import reachable_tensors, shares_storage
from hpo_bench.testing.watched import Interruption, Watch, run


@dataclasses.dataclass
class Whole:
    """An unbroken run, made once for all tests of a method; its folder is not to be written to."""

    loaded: LoadedTask
    problem: Problem
    result: SearchResult
    journal: Journal
    watch: Watch

    @property
    def cost(self) -> float:
        """Step-equivalents."""
        return self.problem.meter.snapshot().step_equivalents


_WHOLE: dict[str, Whole] = {}


def fresh(method: ObjectiveWeightSearch) -> ObjectiveWeightSearch:
    """The same method with nothing remembered."""
    return type(method)(**dataclasses.asdict(method))  # type: ignore[call-overload]


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
    def whole(self, method: ObjectiveWeightSearch, tmp_path_factory: pytest.TempPathFactory) -> Whole:
        key = f"{type(method)} {method} {self.budget}"
        if key not in _WHOLE:
            loaded = registry.load(registry.TASKS, "quadratic")(device=torch.device("cpu"))
            problem, watch = self.problem(loaded=loaded), Watch()
            assert method.supports(problem).ok, method.supports(problem).reason
            result, journal = run(fresh(method), problem, tmp_path_factory.mktemp("whole"), watch)
            _WHOLE[key] = Whole(loaded, problem, result, journal, watch)
        return _WHOLE[key]

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

    def test_finds_weights_on_the_simplex(self, whole: Whole) -> None:
        assert whole.result.weights.shape == (whole.problem.num_objectives,)
        for _, weights in whole.result.schedule.pieces:
            _check_weights(weights, whole.problem)
        assert math.isfinite(whole.result.value)

    def test_refuses_a_budget_that_is_too_small(self, method: ObjectiveWeightSearch) -> None:
        support = method.supports(self.problem("1se"))
        assert not support.ok
        assert any(character.isdigit() for character in support.reason), "the reason says how much is needed"

    def test_keeps_to_a_budget_of_trials(self, whole: Whole) -> None:
        assert 0 < whole.cost <= whole.problem.allowance * (1 + 1e-9)
        assert whole.problem.budget.trials is not None
        assert len(whole.journal.trials) <= whole.problem.budget.trials

    def test_keeps_to_a_budget_of_step_equivalents(self, method: ObjectiveWeightSearch, tmp_path: Path) -> None:
        problem = self.problem(f"{self.problem().allowance}se")
        run(method, problem, tmp_path)
        assert 0 < problem.meter.snapshot().step_equivalents <= problem.allowance * (1 + 1e-9)

    def test_bills_everything(self, whole: Whole) -> None:
        recorded = sum(record.cost["step_equivalents"] for record in whole.journal.trials)
        assert recorded > 0
        assert whole.cost == pytest.approx(recorded)
        assert whole.journal.trials[-1].spent["step_equivalents"] == pytest.approx(recorded)
        assert whole.problem.meter.snapshot().seconds_training > 0

    def test_records_are_valid(self, whole: Whole) -> None:
        problem, trials = whole.problem, whole.journal.trials
        assert [record.number for record in trials] == list(range(len(trials)))
        spent = 0.0
        for record in trials:
            assert record.state in ("done", "pruned", "diverged")
            _check_weights(record.weights, problem)
            assert record.state != "done" or (record.value is not None and math.isfinite(record.value))
            assert min(record.cost.values()) >= 0
            assert record.spent["step_equivalents"] >= spent
            spent = record.spent["step_equivalents"]
            if record.schedule:
                assert WeightSchedule.from_json(record.schedule).final == pytest.approx(record.weights)
        for line in whole.journal.trajectory:
            assert 0 <= line["step"] <= problem.protocol.steps
            _check_weights(line["weights"], problem)
        values = [record.value for record in trials if record.state == "done" and record.value is not None]
        assert whole.result.value in values
        assert not any(problem.metric.better(value, whole.result.value) for value in values)

    def test_same_seed_same_result(self, method: ObjectiveWeightSearch, whole: Whole, tmp_path: Path) -> None:
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)  # noqa: NPY002 (global generators are what must not matter)
        problem = self.problem()
        with irreproducible_refused(problem.task.device):
            result, journal = run(method, problem, tmp_path)
        _assert_same(whole.result, result)
        assert _scores(journal) == _scores(whole.journal)

    def test_same_result_in_a_fresh_process(self, method: ObjectiveWeightSearch, whole: Whole, tmp_path: Path) -> None:
        there = run_in_child(method, tmp_path, problem={"budget": self.budget})
        assert there is not None
        assert there["weights"] == whole.result.weights.tolist()
        assert there["value"] == whole.result.value

    def test_trials_share_their_random_numbers(self, whole: Whole) -> None:
        """The same weights, trained again, give the same score: two trials differ by their weights alone."""
        if whole.result.as_searched is not None:
            pytest.skip("the score belongs to the run's own model, not to a trial under its final weights")
        for _ in range(2):
            trial = self.problem().start_trial()
            trial.follow(whole.result.schedule)
            assert trial.validate().value == whole.result.value

    def test_a_finished_search_is_not_trained_again(
        self, method: ObjectiveWeightSearch, whole: Whole, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(whole.journal.folder, tmp_path / "copy")
        problem, watch = self.problem(), Watch()
        result, _ = run(method, problem, folder, watch)
        assert (result.schedule, result.value) == (whole.result.schedule, whole.result.value)
        assert watch.passes == 0
        assert problem.meter.snapshot().step_equivalents == pytest.approx(whole.cost)

    @pytest.mark.usefixtures("bill_every_pass")
    def test_goes_on_after_an_interruption(self, method: ObjectiveWeightSearch, whole: Whole, tmp_path: Path) -> None:
        """Interrupted at several points: the result of an unbroken run, for its cost and what was lost."""
        for share in self.interruptions:
            folder = tmp_path / f"broken-{share}"
            if whole.watch.passes:
                watch = Watch(at_pass=max(1, round(share * whole.watch.passes)))
            else:  # trains in other processes
                watch = Watch(at_report=max(1, round(share * whole.watch.reports)))
            with pytest.raises(Interruption):
                run(fresh(method), self.problem(), folder, watch)
            self._check_resumed(method, folder, whole)

    @pytest.mark.usefixtures("bill_every_pass")
    def test_goes_on_after_a_kill(self, method: ObjectiveWeightSearch, whole: Whole, tmp_path: Path) -> None:
        """SIGKILL to a whole process group, as a batch system does it."""
        passes = whole.watch.passes
        where = {"kill_at_pass": max(1, passes // 2)} if passes else {"kill_at_report": 3}
        assert run_in_child(method, tmp_path, problem={"budget": self.budget}, **where) is None, "it was not killed"
        self._check_resumed(method, tmp_path, whole)

    def test_goes_on_where_batch_norm_and_dropout_are_in_the_way(
        self, method: ObjectiveWeightSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Buffers and random numbers are part of what a method keeps in order."""
        monkeypatch.setattr(online_run, "CHECKPOINT_EVERY", 10)  # there are checkpoints on the way
        options: dict[str, Any] = {"task_options": {"network": True}, "steps": 30}
        watch = Watch()
        result, journal = run(fresh(method), self.problem(**options), tmp_path / "whole", watch)
        if not watch.passes:
            pytest.skip("it trains in other processes, where nothing can interrupt it at a pass")
        with pytest.raises(Interruption):
            run(fresh(method), self.problem(**options), tmp_path / "broken", Watch(at_pass=round(0.6 * watch.passes)))
        again, resumed = run(fresh(method), self.problem(**options), tmp_path / "broken")
        _assert_same(result, again)
        assert [_unpriced(line) for line in resumed.trajectory] == [_unpriced(line) for line in journal.trajectory]

    def test_retrains_under_a_fresh_seed(self, method: ObjectiveWeightSearch, whole: Whole) -> None:
        """The runner's way: another seed, a meter of its own, no journal. The same twice, and billed."""
        values, costs = [], []
        for _ in range(2):
            problem = self.problem(seed=1)
            values.append(fresh(method).retrain(problem, whole.result).value)
            costs.append(problem.meter.snapshot().step_equivalents)
        assert values[0] == values[1]
        assert costs[0] == costs[1] > 0

    def test_cannot_reach_the_test_split(self, method: ObjectiveWeightSearch, whole: Whole) -> None:
        tensors = list(reachable_tensors([whole.problem, method, whole.journal]))
        assert any(shares_storage(whole.loaded.task.valid.labels, tensor) for tensor in tensors), "it sees the problem"
        assert not any(shares_storage(whole.loaded.test.labels, tensor) for tensor in tensors)

    def _check_resumed(self, method: ObjectiveWeightSearch, folder: Path, whole: Whole) -> None:
        before = _scores(Journal.open(folder, self.problem().meter))
        problem = self.problem()
        result, journal = run(fresh(method), problem, folder)
        _assert_same(whole.result, result)
        assert _scores(journal)[: len(before)] == before
        lost = problem.meter.snapshot().step_equivalents - whole.cost
        most = max(problem.trial_cost, *(record.cost["step_equivalents"] for record in journal.trials))
        assert -1e-6 <= lost <= most + 1e-6, "the bill is that of an unbroken run and at most one trial that was lost"


def _scores(journal: Journal) -> list[tuple[list[float], float | None]]:
    return [(record.weights, record.value) for record in journal.trials]


def _check_weights(weights: Sequence[float], problem: Problem) -> None:
    """On the simplex, or all zero: no continued pretraining."""
    if any(weights):
        on_simplex(weights, problem.num_objectives)
    else:
        assert len(weights) == problem.num_objectives


def _unpriced(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the trajectory without what it cost: seconds are never the same twice."""
    return {key: value for key, value in line.items() if key not in ("cost", "spent")}


def _assert_same(a: SearchResult, b: SearchResult) -> None:
    assert a.schedule == b.schedule
    assert a.value == b.value
