"""The Ray side of population based training: a member, the scheduler's draws, and the bill. Imported only to run it.

A unit of work is one interval of one lineage: its file name is the hash of the weights that led to it. A finished unit
lies in `workspace/units`: a result (JSON) and, as long as somebody may go on from it, a checkpoint. So a resumed search
finds what was done, whoever did it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from hpo_bench.core.checkpoint import write_whole
from hpo_bench.core.meter import Cost
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.core.rng import derive_seed
from hpo_bench.errors import UserError
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.workers import (
    Overhead,
    bill_path,
    billed_to,
    build_problem,
    claim_lost_bills,
    ray_session,
    share_of_gpu,
)

if TYPE_CHECKING:
    from hpo_bench.search.pbt import Pbt

_WORST = 1e30  # score of a diverged member: the scheduler leaves NaN where it is, and replaces the worst
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once, as everywhere else; it can be resumed
    "RAY_AIR_NEW_OUTPUT": "0",
}


def unit_key(pieces: list[list[Any]]) -> str:
    """The name of the unit that ends with the last of these pieces [first step, weights]."""
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()[:20]


class Member(tune.Trainable):
    """A member of the population; one `step` is one interval: train, score, save."""

    def setup(self, config: dict[str, Any]) -> None:
        self._problem = build_problem(ProblemSpec(**config["spec"]), config["processes"])
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._weights, self._boundaries = new_config["weights"], new_config["boundaries"]
        self._workspace, self._pieces = Path(new_config["workspace"]), new_config["pieces"]
        return True

    def step(self) -> dict[str, Any]:
        start, end = self._boundaries[len(self._pieces) : len(self._pieces) + 2]
        parent = unit_key(self._pieces) if self._pieces else None
        pieces = [*self._pieces, [start, self._weights]]
        key = unit_key(pieces)
        result = self._workspace / "units" / f"{key}.json"
        if not result.exists():
            with billed_to(bill_path(self._workspace, key), self._problem.meter) as spent:
                value = self._train(parent, key, end - start)
                unit = {"unit": key, "pieces": pieces, "value": value, "cost": spent().to_json()}
            write_whole(result, json.dumps(unit).encode())
        unit = json.loads(result.read_text())
        worst = -_WORST if self._problem.metric.higher_is_better else _WORST
        return {
            "score": worst if unit["value"] is None else unit["value"],
            "scored": len(pieces),
            "pieces": pieces,
            "unit": unit,
        }

    def _train(self, parent: str | None, key: str, steps: int) -> float | None:
        """Train and score; None if a loss is not finite, here or before."""
        units, meter = self._workspace / "units", self._problem.meter
        try:
            with meter.phase("orchestration"):
                trial = self._problem.start_trial()
                if parent is not None:
                    if json.loads((units / f"{parent}.json").read_text())["value"] is None:
                        return None
                    trial.load(units / f"{parent}.safetensors")
            trial.advance(self._weights, steps)
            value = trial.validate().value
            with meter.phase("orchestration"):
                trial.save(units / f"{key}.safetensors")
            return value
        except Diverged:
            return None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}  # Ray wants one; the state lies in `workspace/units`

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        pass


class SeededPbt(PopulationBasedTraining):
    """Ray's scheduler, made exact: who waits, who is in which quantile and when is Ray's, two things are not.

    Its draws come from the global `random`, seeded here for each draw from (seed, interval, member). And a copy of
    another member travels in the configuration, as the weights that led to it (`pieces`), not as a Ray checkpoint: a
    member's own checkpoint that is still being saved when it is told to copy another would overtake the copy, so the
    outcome would depend on timing (seen with Ray 2.60 on a busy machine).
    """

    def __init__(self, seed: int, members: int, **options: Any) -> None:
        super().__init__(**options)
        self._seed, self._members = seed, members

    def _checkpoint_or_exploit(
        self, trial: Any, tune_controller: Any, upper_quantile: Any, lower_quantile: Any
    ) -> None:
        if len(self._trial_state) != self._members:
            raise RuntimeError(f"Ray Tune compares {len(self._trial_state)} of {self._members} members")
        parent, config = trial, trial.config
        if trial in lower_quantile:
            interval = self._trial_state[trial].last_train_time
            with seeded_random(derive_seed(self._seed, "pbt", "explore", interval, member_of(trial))):
                parent = random.choice(upper_quantile)
                config, _ = self._get_new_config(trial, parent)
        result = self._trial_state[parent].last_result
        assert result is not None  # all members have been scored
        trial.set_config({**config, "pieces": result["pieces"]})


@contextmanager
def seeded_random(seed: int) -> Iterator[None]:
    """Seed the global `random` inside the block and restore it afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def member_of(trial: Any) -> int:
    """A Ray trial's place in the population: the number at the end of its id."""
    return int(trial.trial_id.rpartition("_")[2])


def explore(config: dict[str, Any], resample: float, spread: float) -> dict[str, Any]:
    """The configuration with new weights; draws from the global `random`, which the scheduler has seeded."""
    draw = np.random.default_rng(random.getrandbits(63))
    weights = np.asarray(config["weights"])
    if draw.random() < resample:
        weights = draw.dirichlet(np.ones(len(weights)))
    else:
        weights = weights * np.exp(spread * draw.standard_normal(len(weights)))
    return {**config, "weights": (weights / weights.sum()).tolist()}


class Ledger(tune.Callback):
    """In the driver: bills and records every unit once, clears away checkpoints, and stops the run when time is up."""

    def __init__(self, problem: Problem, journal: Journal, members: int, overhead: Overhead) -> None:
        self._problem, self._journal, self._members, self._overhead = problem, journal, members, overhead
        self._lines = {(line["trial"], line["interval"]): line for line in journal.trajectory}
        self.error: BaseException | None = None

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        try:
            self._enter(member_of(trial), result["unit"])
        except BaseException as error:  # raised again when Ray Tune has ended its actors, which it would leave behind
            self.error = error

    def _enter(self, member: int, unit: dict[str, Any]) -> None:
        interval = len(unit["pieces"]) - 1
        if (member, interval) in self._lines:
            return
        cost = Cost.from_json(unit["cost"])
        self._problem.meter.add(cost)
        self._overhead.settle(cost.seconds)
        start, weights = unit["pieces"][-1]
        line = {"trial": member, "interval": interval, **unit}
        self._journal.record_weights(start, weights, **line)
        self._lines[member, interval] = line
        bill_path(self._journal.workspace, unit["unit"]).unlink(missing_ok=True)
        spent = self._journal.save_bill()
        self._clear_away(interval)
        trials = spent.step_equivalents / self._problem.trial_cost
        done = self._problem.budget.fraction(trials, spent)
        self._journal.report(Progress(f"member {member + 1}, interval {interval + 1}", done, weights, unit["value"]))

    def _clear_away(self, interval: int) -> None:
        """Nobody goes on from an interval after all members have finished the next one."""
        if all((member, interval) in self._lines for member in range(self._members)):
            for (_, done), line in self._lines.items():
                if done < interval:
                    (self._journal.workspace / "units" / f"{line['unit']}.safetensors").unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray saves callbacks with the experiment; what this one knows is in the journal


class End(tune.Stopper):
    """A member ends with its last interval, and everything when the budget's seconds are spent."""

    def __init__(self, problem: Problem, ledger: Ledger, overhead: Overhead, intervals: int) -> None:
        self._problem, self._ledger, self._overhead, self._intervals = problem, ledger, overhead, intervals

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return result["scored"] >= self._intervals

    def stop_all(self) -> bool:
        if self._ledger.error is not None:
            return True
        limit = self._problem.budget.seconds
        if limit is None:
            return False
        self._overhead.settle()
        return self._problem.meter.snapshot().seconds >= limit

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray saves it with the experiment; a meter with a display behind it cannot be pickled


def run_population(method: Pbt, problem: Problem, journal: Journal) -> None:
    """Train the whole population; every unit is in the journal's trajectory afterwards.

    Raises:
        UserError: a member failed, or the time ended.
    """
    assert problem.spec is not None  # supports() said so
    workspace = journal.workspace.resolve()
    billed = {line["unit"] for line in journal.trajectory}
    claim_lost_bills(journal, lambda unit: unit in billed or (workspace / "units" / f"{unit}.json").exists())
    overhead = Overhead(problem.meter, method.workers)
    ledger = Ledger(problem, journal, method.members(problem), overhead)
    metric = {"metric": "score", "mode": "max" if problem.metric.higher_is_better else "min"}
    scheduler = SeededPbt(
        problem.seed,
        method.members(problem),
        time_attr="scored",
        perturbation_interval=1,
        custom_explore_fn=lambda config: explore(config, method.resample, method.spread),
        quantile_fraction=method.quantile,
        log_config=False,
        synch=True,
        **metric,
    )
    space = {
        "weights": tune.grid_search(method.initial_weights(problem)),
        "pieces": [],
        "boundaries": method.boundaries(problem),
        "spec": asdict(problem.spec),
        "processes": method.workers,
        "workspace": str(workspace),
    }
    try:
        # Members that Tune has not made yet are not waited for, so it has to make all of them before it starts.
        environment = {**_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(method.members(problem) + 1)}
        with _environment(environment), ray_session(workspace, method.workers, method.ray_address):
            resources = {"cpu": 1, "gpu": share_of_gpu(problem.spec, method.workers)}
            tuner = tune.Tuner(
                tune.with_resources(Member, resources),
                param_space=space,
                tune_config=tune.TuneConfig(
                    scheduler=scheduler,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: f"member-{member_of(trial)}",
                ),
                run_config=tune.RunConfig(
                    name=f"tune-{os.getpid()}",
                    storage_path=str(workspace),
                    stop=End(problem, ledger, overhead, method.intervals),
                    callbacks=[ledger],
                    failure_config=tune.FailureConfig(fail_fast=True),
                    verbose=0,
                ),
            )
            results = tuner.fit()
            if ledger.error is not None:
                raise ledger.error
            if results.errors:
                raise _readable(results.errors[0])
        for checkpoint in (workspace / "units").glob("*.safetensors"):
            checkpoint.unlink()
    finally:
        overhead.settle()
        recorded = {line["unit"] for line in journal.trajectory}
        claim_lost_bills(journal, lambda unit: unit in recorded)


def _readable(error: Exception) -> Exception:
    """What went wrong in a member, as the person who runs the program should see it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return cause
    if isinstance(error, ray.exceptions.RayActorError):
        return UserError(f"a worker process died: {error}", "give fewer workers if memory ran out, then run it again")
    return error


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables set inside the block."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.__setitem__(key, value)
