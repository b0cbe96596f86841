"""Running a population under Ray Tune: the bill, the records, and the end. Imported only to run it: it imports Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray import tune

from hpo_bench.core.meter import Cost
from hpo_bench.core.problem import Problem
from hpo_bench.records.files import own_folder
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.pbt_population import Member, SeededPbt, explore, member_of
from hpo_bench.search.pbt_units import recorded_units
from hpo_bench.search.workers import (
    bill_path,
    bill_worker,
    claim_lost_bills,
    processes_for,
    ray_session,
    readable,
    readable_failures,
    share_of_gpu,
)

if TYPE_CHECKING:
    from hpo_bench.search.pbt import Pbt

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once, as everywhere else; it can be resumed
    "RAY_AIR_NEW_OUTPUT": "0",
}


class Ledger(tune.Callback):
    """In the driver: bills and records every unit once, clears away checkpoints, and stops the run when time is up."""

    def __init__(self, problem: Problem, journal: Journal, members: int, processes: int) -> None:
        self._problem, self._journal, self._members, self._processes = problem, journal, members, processes
        self._lines = {(line["trial"], line["interval"]): line for line in recorded_units(journal)}
        self.error: BaseException | None = None

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        try:
            self._enter(member_of(trial), result["unit"], result["trained"])
        except BaseException as error:  # raised again when Ray Tune has ended its actors, which it would leave behind
            self.error = error

    def _enter(self, member: int, unit: dict[str, Any], trained: bool) -> None:
        interval = len(unit["pieces"]) - 1
        if (member, interval) in self._lines:
            return
        bill_worker(self._problem.meter, Cost.from_json(unit["cost"]), self._processes, clocked=trained)
        start, weights = unit["pieces"][-1]
        spent = self._problem.meter.snapshot()
        # The line says what was spent: whoever is killed before the bill is saved finds it there.
        line = {"trial": member, "interval": interval, **unit, "spent": spent.to_json()}
        self._journal.record_weights(start, weights, **line)
        self._lines[member, interval] = line
        self._journal.save_bill()
        bill_path(self._journal.workspace, unit["unit"]).unlink(missing_ok=True)
        self._clear_away(interval)
        trials = spent.step_equivalents / self._problem.trial_cost
        done = self._problem.budget.fraction(trials, spent)
        self._journal.report(Progress(f"member {member + 1}, interval {interval + 1}", done, weights, unit["value"]))

    def _clear_away(self, interval: int) -> None:
        """Remove checkpoints of the intervals before one that all members have finished: none can go on from them."""
        if all((member, interval) in self._lines for member in range(self._members)):
            for (_, done), line in self._lines.items():
                if done < interval:
                    (self._journal.workspace / "units" / f"{line['unit']}.safetensors").unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray saves callbacks with the experiment; what this one knows is in the journal


class End(tune.Stopper):
    """A member ends with its last interval, and everything when the budget's seconds are spent."""

    def __init__(self, problem: Problem, ledger: Ledger, intervals: int) -> None:
        self._problem, self._ledger, self._intervals = problem, ledger, intervals

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return result["scored"] >= self._intervals

    def stop_all(self) -> bool:
        if self._ledger.error is not None:
            return True
        limit = self._problem.budget.seconds
        return limit is not None and self._problem.meter.snapshot().seconds >= limit

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray saves it with the experiment; a meter with a display behind it cannot be pickled


def run_population(method: Pbt, problem: Problem, journal: Journal) -> None:
    """Train the whole population; every unit is in the journal's trajectory afterwards.

    Raises:
        UserError: a member failed, or the time ended.
    """
    assert problem.spec is not None  # supports() said so
    workspace, members = journal.workspace.resolve(), method.members(problem)
    own_folder(workspace / "units")
    processes = processes_for(method.workers, members, method.ray_address)

    def billed(unit: str) -> bool:
        """What a finished unit cost is billed when its result is read."""
        return (workspace / "units" / f"{unit}.json").exists()

    claim_lost_bills(journal, billed, processes)
    scheduler = SeededPbt(
        problem.seed,
        members,
        time_attr="scored",
        perturbation_interval=1,
        custom_explore_fn=lambda config: explore(config, method.resample, method.spread),
        quantile_fraction=method.quantile,
        log_config=False,
        synch=True,
        metric="score",
        mode="max" if problem.metric.higher_is_better else "min",
    )
    space = {
        "weights": tune.grid_search(method.initial_weights(problem)),
        "pieces": [],
        "boundaries": method.boundaries(problem),
        "spec": asdict(problem.spec),
        "processes": processes,
        "workspace": str(workspace),
    }
    # Members that Tune has not made yet are not waited for, so it has to make all of them before it starts.
    environment = {**_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(members + 1)}
    try:
        with (
            _environment(environment),
            readable_failures(),
            ray_session(workspace, processes, method.ray_address) as cpus,
        ):
            # A session that is somebody else's trains as many members at once as it has CPUs.
            ledger = Ledger(problem, journal, members, max(processes, min(members, cpus)))
            resources = {"cpu": 1, "gpu": share_of_gpu(problem.spec, processes)}
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
                    stop=End(problem, ledger, method.intervals),
                    callbacks=[ledger],
                    failure_config=tune.FailureConfig(fail_fast=True),
                    verbose=0,
                ),
            )
            results = tuner.fit()
            if ledger.error is not None:
                raise ledger.error
            if results.errors:
                raise readable(results.errors[0])
    except tune.TuneError as error:
        raise readable(error) from error
    finally:
        claim_lost_bills(journal, billed, processes, clocked=True)


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
