"""One run: search on train and valid, retrain what was found with fresh seeds, read test once per seed, record it."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_bench import registry
from hpo_bench.core.adaptation import adaptation, score
from hpo_bench.core.cost import Cost
from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.core.memory import memory_told
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.micro_batches import cautions
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.core.rng import derive_seed
from hpo_bench.core.settings import without_place
from hpo_bench.errors import UserError, doubts
from hpo_bench.records import environment, schema
from hpo_bench.records.files import files_of
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.records.run_folder import FINISHED, RunFolder, open_run
from hpo_bench.run.config import RunConfig
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult
from hpo_bench.tasks.base import LoadedTask, Task


@dataclass
class Observer:
    """What a display hooks into. Every method may be overridden; none needs to be."""

    def started(self, config: RunConfig, problem: Problem) -> None:
        """The search is about to begin (or to go on)."""

    def progressed(self, progress: Progress) -> None:
        """Something happened."""

    def finished(self, config: RunConfig, run: RunFolder) -> None:
        """The run is on disk, whole."""


def load_task(task: str, options: dict[str, Any], device: str) -> LoadedTask:
    """A task from its entry point.

    Raises:
        UserError: the loader gives something else.
    """
    loaded = registry.load(registry.TASKS, task)(device=resolve_device(device), **options)
    if not isinstance(loaded, LoadedTask):
        told = f"the loader of the task {task} gave a {type(loaded).__name__}"
        raise UserError(told, "return a LoadedTask: CONTRIBUTING.md has one")
    return loaded


def make_problem(config: RunConfig, task: Task) -> Problem:
    """A run's problem, with an empty bill."""
    meter = CostMeter(config.protocol.batch_size, task.device)
    spec = ProblemSpec(config.task, config.task_options, config.protocol.to_json(), config.seed, str(task.device))
    return Problem(task, config.protocol, config.seed, config.budget, meter, spec)


def supported(config: RunConfig, task: Task) -> Problem:
    """A run's problem, if its method can solve it.

    Raises:
        UserError: it cannot, and why.
    """
    problem = make_problem(config, task)
    support = config.searcher.supports(problem)
    if not support.ok:
        raise UserError(f"{config.method} cannot solve {config.task}: {support.reason}")
    return problem


def run(config: RunConfig, observer: Observer | None = None, loaded: LoadedTask | None = None) -> RunFolder:
    """Do a run, or what is left of it, and return its record. One that is `vouched` for needs no `loaded` task.

    Raises:
        UserError: bad input, an unwritable folder, a budget too small; the record says `failed` where it was begun.
    """
    observer = observer or Observer()
    if loaded is None and vouched(config):
        content = schema.read_run(config.folder)["content"]
        with open_run(config.folder, {"config": config.to_json()}, content) as folder:  # clears what a kill left
            observer.finished(config, folder)
            return folder
    prepare_process()
    loaded = loaded or load_task(config.task, config.task_options, config.device)
    task = loaded.task
    problem = supported(config, task)
    identity = {
        "method": config.method,
        "task": config.task,
        "seed": config.seed,
        "config": config.to_json(),
        "objectives": list(task.objectives),
        "base_id": task.base_id,
    }
    with open_run(config.folder, identity, loaded.content) as folder:
        if folder.status in FINISHED:
            observer.finished(config, folder)
            return folder
        said = cautions(task, config.protocol)
        for sentence in said:
            warnings.warn(sentence, stacklevel=2)
        folder.begin_session(
            environment.describe(),
            files=files_of(config.task_options),
            metric={"name": task.metric.name, "higher_is_better": task.metric.higher_is_better},
            data={**loaded.report, "notices": _notices([*loaded.notices, *said], folder)},
            trial_cost=problem.trial_cost,
            options=_options(config.searcher),
            preset_protocol=config.preset_protocol,
        )
        with doubts(folder.notice):
            _run_recorded(config, problem, loaded, folder, observer)
        observer.finished(config, folder)
        return folder


def vouched(config: RunConfig) -> bool:
    """Is this run finished, and the user's data file the same byte for byte? Then nothing has to be loaded."""
    if not os.path.isfile(config.folder / "run.json"):
        return False
    record = schema.read_run(config.folder)
    files = record.get("files") or {}  # records of before it was kept have none
    asked = json.loads(json.dumps(config.to_json()))
    if record["status"] not in FINISHED or record["config"] != asked or "path" not in files:
        return False
    source = record["data"].get("source")
    # Of the bytes as they were read: the file may have changed a moment later.
    read = source.get("sha256") if isinstance(source, dict) else None
    return files["path"] == read and files == files_of(config.task_options)


def _notices(now: Sequence[str], folder: RunFolder) -> list[str]:
    """What is said now, and what an earlier session noticed."""
    before = (folder.content.get("data") or {}).get("notices") or []
    return list(dict.fromkeys([*now, *before]))


def _options(method: ObjectiveWeightSearch) -> dict[str, Any]:
    """All options of a method, for its record."""
    return without_place(type(method), dataclasses.asdict(method))  # type: ignore[call-overload]


def _run_recorded(
    config: RunConfig,
    problem: Problem,
    loaded: LoadedTask,
    folder: RunFolder,
    observer: Observer,
) -> None:
    """Search, retrain, and set the status, whatever happens."""
    try:
        journal = Journal.open(folder.folder, problem.meter, observer.progressed)
        journal.on_node = folder.add_node
        observer.started(config, problem)
        with memory_told(), problem.meter.phase("orchestration"):
            found = config.searcher.search(problem, journal)
        bill = journal.save_bill()
        problem.meter.heartbeat = None
        retrained = retrain(config, problem, loaded, found, folder, observer)
        result = {
            "weights": found.weights.tolist(),
            "schedule": found.schedule.to_json(),
            "value": found.value,
            "as_searched": _as_searched(problem, loaded, found),
            "retrained": retrained,
        }
        cost = {"search": bill.to_json(), "retraining": sum_costs(line["cost"] for line in retrained).to_json()}
    except Diverged as error:
        folder.finish("diverged", str(error))
        remedy = "lower the learning rate (--set learning_rate=…): the same folder will do"
        raise UserError(f"{config.method} diverged: {error}", remedy) from error
    except BaseException as error:
        with suppress(OSError):  # a full disk: what went wrong first is told
            folder.finish("failed", f"{type(error).__name__}: {error}")
        raise
    # A resumed run also pays for what the kill lost, and a last trial may outlast a limit in seconds.
    own = bill.step_equivalents - journal.lost
    over = own > problem.allowance * (1 + 1e-9) and folder.content["sessions"] == 1
    folder.finish("over-budget" if over else "done", result=result, cost=cost)


@memory_told()
def retrain(
    config: RunConfig,
    problem: Problem,
    loaded: LoadedTask,
    found: SearchResult,
    folder: RunFolder,
    observer: Observer,
) -> list[dict[str, Any]]:
    """Train from the base with fresh seeds as the method says, and read test once for each.

    The seed of retraining j of repetition r is the same for every method.
    """
    done = {line["index"]: line for line in folder.tests}
    for index in range(config.retrains):
        if index in done:
            continue
        observer.progressed(Progress(f"retraining {index + 1} of {config.retrains}", 1.0, found.weights.tolist()))
        seed = derive_seed(config.seed, "retraining", index)
        meter = CostMeter(config.protocol.batch_size, problem.task.device)
        meter.flops_per_sample = problem.meter.flops_per_sample
        adapted = config.searcher.retrain(dataclasses.replace(problem, seed=seed, meter=meter), found)
        spent = meter.snapshot()  # reading test is the user's business, not the method's bill
        test = score(problem.task, adapted.model, loaded.test, meter)
        line = {"index": index, "seed": seed, "valid": adapted.value, "test": test, "epochs": adapted.epochs}
        folder.record_test({**line, "cost": spent.to_json()})
    return folder.tests


@memory_told()
def _as_searched(problem: Problem, loaded: LoadedTask, found: SearchResult) -> dict[str, float] | None:
    """Valid and test score of the model that a single-run search itself ended with."""
    if found.as_searched is None:
        return None
    task = problem.task
    model = adaptation(problem.protocol.mode).load(found.as_searched, task, problem.protocol, problem.seed)
    meter = CostMeter(problem.protocol.batch_size, task.device)
    return {"valid": found.value, "test": score(task, model, loaded.test, meter)}


def sum_costs(costs: Any) -> Cost:
    """The sum of recorded costs."""
    total = Cost()
    for cost in costs:
        total = total + Cost.from_json(cost)
    return total


def show_weights(objectives: tuple[str, ...] | list[str], weights: np.ndarray | list[float]) -> str:
    """As text: `atom 0.21, bond 0.17, …`."""
    if not any(weights):
        return "none, there is no continued pretraining"
    return ", ".join(f"{name} {weight:.2f}" for name, weight in zip(objectives, weights, strict=True))
