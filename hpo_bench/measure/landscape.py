"""Measure on purpose whether weighting matters: vertices, centre and edge midpoints of the simplex x paired seeds."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench.compare.charts.forest import simplex_points
from hpo_bench.compare.charts.printed import save
from hpo_bench.compare.cohort import cohorts
from hpo_bench.compare.stats.intervals import mean_interval
from hpo_bench.compare.stats.simplex import Point, Simplex, simplex
from hpo_bench.core.budget import Budget
from hpo_bench.errors import UserError
from hpo_bench.records.files import write_changed
from hpo_bench.records.load import finished, load_runs
from hpo_bench.records.run_folder import differences
from hpo_bench.run.config import RunConfig, configure
from hpo_bench.run.runner import Observer, run
from hpo_bench.search.grid import visits
from hpo_bench.tasks.base import LoadedTask

_PLACES = ("path", "base", "checkpoint", "model", "corpus")  # of files; `base_id` and `content` say what is in them
METHOD, RESOLUTION = "grid", 2  # the {K, 2} lattice is the K vertices and the edge midpoints; grid adds the centre


def plan(task: str, *, method_options: dict[str, Any], **settings: Any) -> RunConfig:
    """The configuration of the first seed; `settings` as for `configure`. Nothing is retrained, so test is not read."""
    options = {**method_options, "resolution": RESOLUTION}
    return configure(METHOD, task, method_options=options, retrains=0, **settings)


def measure(config: RunConfig, seeds: int, loaded: LoadedTask, observer: Observer | None = None) -> Simplex:
    """Train every point with seeds `config.seed`, … that are not on record yet, and compare all of them.

    Raises:
        UserError: a single objective, or what `run` refuses.
    """
    size = len(loaded.task.objectives)
    if size < 2:
        raise UserError(f"{config.task} has one objective: there are no weights to choose", "give two or more")
    config = dataclasses.replace(config, budget=Budget(trials=visits(size, RESOLUTION)))
    wanted = [config.repetition(config.seed + number) for number in range(seeds)]
    for one in wanted:
        run(one, observer, loaded)
    folders = {str(one.folder) for one in wanted}
    records = load_runs(config.out / config.task)
    ours = finished(records[records["folder"].isin(folders)], config.out)
    tasks, _ = cohorts(ours)
    if len(tasks) > 1:  # an older version did not keep what the data were
        told = ", ".join(task.label for task in tasks)
        raise UserError(f"{config.out / config.task} holds runs of different settings: {told}", "give another --out")
    (runs,) = tasks[0].methods.values()
    for folder, trials in zip(runs.folders, runs.trials, strict=True):
        if missing := visits(size, RESOLUTION) - len(trials):
            told = f"{folder} lacks {missing} of its trials, though its run is done"
            raise UserError(told, "move it away: the same command then measures it again")
    return simplex(tasks[0], np.random.default_rng(0))


def measured_with(config: RunConfig, loaded: LoadedTask) -> dict[str, Any]:
    """What a landscape is of, as it stands in its JSON: it tells nothing of another protocol, base or data."""
    options = {name: value for name, value in config.task_options.items() if name not in _PLACES}
    told = {
        "protocol": config.protocol.to_json(),
        "task_options": options,
        "base_id": loaded.task.base_id,
        "content": loaded.content,
    }
    return json.loads(json.dumps(told))


def read(path: Path, loaded: LoadedTask, config: RunConfig) -> Simplex:
    """A landscape of this task as `landscape --json` printed it, without the comparisons to the centre.

    It warns of one that an older version wrote, which does not say what it was measured with.

    Raises:
        UserError: a file that is none, or one of another task, of other objectives, or measured with another protocol,
            base or data.
    """
    task = loaded.task
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seeds, lines = tuple(int(seed) for seed in content["seeds"]), content["points"]
        if any(line["task"] != task.name for line in lines):
            raise UserError(f"{path} is a landscape of {lines[0]['task']}, not of {task.name}", "name one of this task")
        scores = [[line[f"valid_seed_{seed}"] for seed in seeds] for line in lines]
        values = np.array([[math.nan if one is None else float(one) for one in row] for row in scores])
        of = {name.removeprefix("weight_") for name in lines[0] if name.startswith("weight_")}
        if of != set(task.objectives):
            raise UserError(
                f"{path} is a landscape of {', '.join(sorted(of))}", "the task's objectives must be the same"
            )
        _check_measured(path, content.get("measured_with"), measured_with(config, loaded))
        points = [
            Point(
                str(line["point"]),
                tuple(float(line[f"weight_{n}"]) for n in task.objectives),
                mean_interval(own),
                None,
                math.nan,
            )
            for line, own in zip(lines, values, strict=True)
        ]
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}", "name what `landscape --json` printed"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        lacks = f": it lacks {error}" if isinstance(error, KeyError) else ""
        raise UserError(f"{path} holds no landscape{lacks}", "name what `landscape --json` printed") from error
    return Simplex(
        task.name, task.metric.name, task.metric.higher_is_better, task.objectives, seeds, values, points, None
    )


def _check_measured(path: Path, there: dict[str, Any] | None, here: dict[str, Any]) -> None:
    """Raise UserError where a landscape says that it was measured with something else."""
    if there is None:
        warnings.warn(
            f"{path} does not say with which protocol, base and data it was measured (an older version printed it): "
            "whether they are those of this command cannot be told",
            stacklevel=3,
        )
        return
    told = [line for part in ("protocol", "task_options") for line in differences(there[part], here[part], part)]
    told += ["it started from another base"] if there["base_id"] != here["base_id"] else []
    parts = sorted(part for part in here["content"] if there["content"].get(part) != here["content"][part])
    told += [f"its {' and its '.join(parts)} held something else"] if parts else []
    if told:
        raise UserError(
            f"{path} was measured with something else than this command says: {'; '.join(told)}",
            "give the flags that it was measured with, or leave --landscape out to measure it",
        )


def write(found: Simplex, folder: Path) -> list[Path]:
    """landscape.csv, .png and .svg in `folder`."""
    table = folder / "landscape.csv"
    write_changed(table, found.frame().to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
    return [table, *save(simplex_points(found), folder / "landscape")]


def to_json(found: Simplex, measured_with: dict[str, Any]) -> str:
    """The sentence, the shares of variance, all points, and what they were measured with; NaN becomes null."""
    points = json.loads(found.frame().to_json(orient="records", double_precision=10))
    variance = None if found.variance is None else dataclasses.asdict(found.variance)
    if variance and not found.variance.weights.has_interval:  # type: ignore[union-attr]
        variance["weights"] |= {"low": None, "high": None}
    body = {"sentence": found.sentence, "seeds": found.seeds, "variance": variance, "points": points}
    body["measured_with"] = measured_with
    return json.dumps(body, indent=1, ensure_ascii=False)
