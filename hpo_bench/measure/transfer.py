"""Train every weighting of a landscape with several seeds and read valid and test: is a choice on valid one for test?

A measurement for a person, after the fact: no search can reach it, and nothing is chosen by what it says.
"""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench.compare.stats.transfer import Transfer, transfer
from hpo_bench.core.adaptation import score
from hpo_bench.core.budget import Budget
from hpo_bench.core.device import prepare_process
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.measure.landscape import RESOLUTION
from hpo_bench.records import environment
from hpo_bench.records.files import append_line, drop_torn_line, read_lines, write_changed
from hpo_bench.records.journal import Progress
from hpo_bench.records.run_folder import held
from hpo_bench.records.schema import TransferLine, check
from hpo_bench.run.config import RunConfig, configure
from hpo_bench.run.runner import Observer
from hpo_bench.search.grid import lattice
from hpo_bench.tasks.base import LoadedTask


def measure(config: RunConfig, seeds: int, loaded: LoadedTask, observer: Observer | None = None) -> Transfer:
    """What is on record in OUT/TASK/transfer.jsonl is not trained again.

    Raises:
        UserError: a single objective, a record of another configuration or other data, and what training refuses.
    """
    observer, task = observer or Observer(), loaded.task
    if len(task.objectives) < 2:
        raise UserError(f"{config.task} has one objective: there are no weights to choose", "give two or more")
    prepare_process()
    points = _weightings(len(task.objectives))
    wanted = [(config.seed + number, index) for number in range(seeds) for index in range(len(points))]
    path = config.out / config.task / "transfer.jsonl"
    asked = json.loads(json.dumps({"config": config.to_json(), "content": loaded.content}))
    done = _on_record(path, asked)
    if any(one not in done for one in wanted):
        with held(path.parent):
            drop_torn_line(path)
            if not read_lines(path):
                append_line(path, {**asked, "environment": environment.describe()})
            done = _on_record(path, asked)
            for count, (seed, index) in enumerate(wanted):
                if (seed, index) not in done:
                    observer.progressed(
                        Progress(f"point {count + 1} of {len(wanted)}", count / len(wanted), points[index].tolist())
                    )
                    done[seed, index] = {"seed": seed, "point": index, **_scores(config, seed, points[index], loaded)}
                    append_line(path, done[seed, index])
    sign = 1 if task.metric.higher_is_better else -1

    def table(split: str) -> np.ndarray:
        found = [[done[config.seed + s, p][split] for s in range(seeds)] for p in range(len(points))]
        return sign * np.array([[math.nan if value is None else value for value in row] for row in found])

    names = tuple(range(config.seed, config.seed + seeds))
    return transfer(config.task, task.metric.name, tuple(task.objectives), names, points, table("valid"), table("test"))


def _weightings(size: int) -> np.ndarray:
    """(P, K): the centre, then the vertices and edge midpoints of the simplex."""
    centre, others = np.full(size, 1 / size), lattice(size, RESOLUTION) / RESOLUTION
    return np.vstack([centre, *(point for point in others if np.abs(point - centre).max() > 1e-9)])


def _on_record(path: Path, asked: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    """The scores on record by seed and point; the first line says of what, and where they were measured.

    Raises:
        UserError: it is not what is `asked`, another configuration or other data, or a line is damaged.
    """
    lines = read_lines(path)
    if lines and {key: lines[0].get(key) for key in asked} != asked:
        raise UserError(f"{path} holds another configuration or other data", "give another --out, or move it away")
    for number, line in enumerate(lines[1:], start=2):
        check(TransferLine, line, f"{path}, line {number},")
    return {(line["seed"], line["point"]): line for line in lines[1:]}


def _scores(config: RunConfig, seed: int, weights: np.ndarray, loaded: LoadedTask) -> dict[str, Any]:
    """Train under constant weights and adapt; what was reached on valid and on test."""
    task, meter = loaded.task, CostMeter(config.protocol.batch_size, loaded.task.device)
    trial = Problem(task, config.protocol, seed, Budget(trials=1), meter).start_trial()
    found: dict[str, float | None] = {"valid": None, "test": None}
    with suppress(Diverged):  # a weighting without a score is left out
        trial.follow(WeightSchedule.constant(weights))
        adapted = trial.validate()
        found = {"valid": adapted.value, "test": score(task, adapted.model, loaded.test, meter)}
    return {"weights": weights.tolist(), **found}


def write(found: Transfer, folder: Path) -> list[Path]:
    """transfer.json in `folder`."""
    path = folder / "transfer.json"
    write_changed(path, (json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    return [path]


def plan(task: str, **settings: Any) -> RunConfig:
    """The configuration; `settings` as for `configure`."""
    return dataclasses.replace(configure("equal", task, retrains=0, **settings), budget=Budget(trials=1))
