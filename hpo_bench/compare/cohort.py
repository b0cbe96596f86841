"""Run records as arrays: what may be compared with what.

Runs belong together when they solve the same problem: task, task options, protocol, base checkpoint, metric, and the
same data by their SHA-256 (older records did not keep it, and belong together). A method whose options differ between
runs is as many methods, and its label says what differs.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpo_bench.compare.stats.costs import Curve, best_so_far
from hpo_bench.compare.style import method_order
from hpo_bench.records.load import DAMAGED
from hpo_bench.records.schema import read_trajectory, read_trials

PROBLEM = ("task_options", "protocol", "base_id", "objectives", "metric", "content")
BILL = (
    "step_equivalents",
    "flops",
    "seconds_pretraining",
    "seconds_adaptation",
    "seconds_hypergradient",
    "seconds_evaluation",
    "seconds_orchestration",
    "peak_memory_bytes",
)


@dataclass(frozen=True)
class MethodRuns:
    """All finished repetitions of one method on one problem; axes: repetition R, retraining J, objective K.

    Attributes:
        test, valid: (R, J) scores after retraining, NaN where missing.
        retrain_seeds: (R, J), -1 where missing; cells of two methods with the same seed share their random numbers.
        weights: (R, K) final weights; zeros where there was no continued pretraining.
        search_value: (R,) valid score that the search saw for them.
        as_searched: (R,) test score of the encoder that the search itself ended with, NaN if it has none.
        search, retraining: bills by field of `Cost`, each (R,).
    """

    label: str
    method: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    test: np.ndarray
    valid: np.ndarray
    retrain_seeds: np.ndarray
    weights: np.ndarray
    schedules: tuple[list[Any], ...]
    search_value: np.ndarray
    as_searched: np.ndarray
    search: dict[str, np.ndarray]
    retraining: dict[str, np.ndarray]
    trials: tuple[list[dict[str, Any]], ...]
    higher_is_better: bool

    @property
    def cost(self) -> np.ndarray:
        """Step-equivalents of each search (R,)."""
        return self.search["step_equivalents"]

    @property
    def pretrains(self) -> bool:
        """Is there any continued pretraining?"""
        return bool(self.weights.any())

    def constant_trials(self, repetition: int) -> list[dict[str, Any]]:
        """Trials of a search that have a score and were trained under constant weights.

        A search that ends with a model of its own has moved the weights on the way: no constant weights scored that.
        """
        if np.isfinite(self.as_searched[repetition]) or not self.pretrains:
            return []
        whole = [t for t in self.trials[repetition] if t.get("state") == "done" and t.get("value") is not None]
        return [trial for trial in whole if len(trial.get("schedule") or []) < 2]

    def curves(self) -> list[Curve]:
        """Best valid score so far against step-equivalents, one per repetition; the search's result ends each."""
        curves = []
        for trials, total, value in zip(self.trials, self.cost, self.search_value, strict=True):
            whole = [trial for trial in trials if trial.get("state") == "done" and trial.get("value") is not None]
            cost = [trial["spent"].get("step_equivalents", np.nan) for trial in whole]
            curves.append(best_so_far([*cost, total], [*(t["value"] for t in whole), value], self.higher_is_better))
        return curves

    def trajectory(self, repetition: int) -> tuple[np.ndarray, np.ndarray]:
        """Steps (S,) and weights (S, K) of the repetition's search, or of its schedule; one row if constant.

        A method that learns weights within one run leaves them in trajectory.jsonl. Where several trials wrote there
        (a population), the schedule of the winner is what tells.
        """
        lines = read_trajectory(Path(self.folders[repetition]))
        schedule = self.schedules[repetition] or []
        alone = len({str(line.get("trial")) for line in lines}) == 1
        if len(schedule) > 1 or not alone or len(lines) < 2:
            pieces = schedule or [[0, self.weights[repetition].tolist()]]
            return np.array([piece[0] for piece in pieces]), np.array([piece[1] for piece in pieces])
        return np.array([line["step"] for line in lines]), np.array([line["weights"] for line in lines])


@dataclass(frozen=True)
class TaskRuns:
    """One problem and every method that was run on it, in the order of all tables and figures.

    `trial_cost` is in step-equivalents; `steps` of continued pretraining are in one trial (0 if not recorded).
    """

    label: str
    metric: str
    higher_is_better: bool
    objectives: tuple[str, ...]
    trial_cost: float
    steps: int
    methods: dict[str, MethodRuns]

    @property
    def weightings(self) -> dict[str, MethodRuns]:
        """The methods that weight objectives, which leaves out the base alone."""
        return {label: runs for label, runs in self.methods.items() if runs.pretrains}

    @property
    def base_alone(self) -> MethodRuns | None:
        """The runs without continued pretraining, if there are any."""
        return next((runs for runs in self.methods.values() if not runs.pretrains), None)

    @property
    def slug(self) -> str:
        """The label as a folder name."""
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in self.label).strip("-.") or "task"


def aligned(first: MethodRuns, second: MethodRuns, scores: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Two arrays (R, J) of the repetitions that both have, NaN where a retraining's seed is not shared."""
    shared = [seed for seed in first.seeds if seed in second.seeds]
    width = min(first.test.shape[1], second.test.shape[1])
    rows_a = [first.seeds.index(seed) for seed in shared]
    rows_b = [second.seeds.index(seed) for seed in shared]
    a = getattr(first, scores)[rows_a][:, :width]
    b = getattr(second, scores)[rows_b][:, :width]
    same = first.retrain_seeds[rows_a][:, :width] == second.retrain_seeds[rows_b][:, :width]
    return np.where(same, a, np.nan), np.where(same, b, np.nan)


def cohorts(done: pd.DataFrame) -> tuple[list[TaskRuns], list[str]]:
    """Finished runs (of `load_runs`) by problem, and notes on what was left out or told apart."""
    notes: list[str] = []
    done = done.assign(problem=[_key(row, PROBLEM) for row in done.to_dict("records")])
    tasks: list[TaskRuns] = []
    for task, runs in done.groupby("task", sort=True):
        problems = sorted(runs["problem"].unique())
        if len(problems) > 1:
            notes.append(f"{task}: runs of {len(problems)} different settings are compared apart")
        labels = _labels(str(task), runs, problems)
        tasks.extend(_task_runs(labels[problem], runs[runs["problem"] == problem], notes) for problem in problems)
    return tasks, notes


def _labels(task: str, runs: pd.DataFrame, problems: list[str]) -> dict[str, str]:
    """A name of its own for every setting: its folder's (`bace@few`), or what differs, in brackets."""
    folders = {
        problem: {Path(folder).parent.parent.name for folder in runs.loc[runs["problem"] == problem, "folder"]}
        for problem in problems
    }
    names = [name for own in folders.values() for name in own]
    if len(set(names)) == len(problems) == len(names) and all(name.partition("@")[0] == task for name in names):
        return {problem: next(iter(own)) for problem, own in folders.items()}
    labels = {problem: task + _difference(problem, problems) for problem in problems}
    taken = Counter(labels.values())
    for number, problem in enumerate(problems, start=1):  # long lists are told by their first letters
        if taken[labels[problem]] > 1:
            labels[problem] += f" #{number}"
    return labels


def left_out(runs: pd.DataFrame) -> list[str]:
    """A sentence on the runs that are no results, if there are any."""
    others = runs[runs["status"] != "done"]
    if others.empty:
        return []
    counts = Counter(zip(others["status"], others["task"], others["method"], strict=True))
    parts = [f"{count} {status} ({method} on {task})" for (status, task, method), count in sorted(counts.items())]
    reasons = sorted(others[others["status"] == DAMAGED]["error"])
    return [f"not counted as results: {', '.join(parts)}", *reasons]


def _task_runs(label: str, runs: pd.DataFrame, notes: list[str]) -> TaskRuns:
    variants = runs.assign(variant=_variant_labels(runs))
    methods = {}
    for name in method_order(variants["variant"].unique()):
        group = variants[variants["variant"] == name].sort_values(["seed", "ended", "folder"], kind="stable")
        if group["seed"].duplicated().any():
            notes.append(f"{label}, {name}: several runs of the same seed; the latest counts")
            group = group.drop_duplicates("seed", keep="last")
        methods[name] = _method_runs(name, group)
        missing = int(np.isnan(methods[name].test).sum()) - int((methods[name].retrain_seeds < 0).sum())
        if missing:
            notes.append(f"{label}, {name}: {missing} retrainings gave no test score and are left out")
    told = dict.fromkeys(notice for notices in runs["notices"] for notice in notices)
    notes.extend(f"{label}: {notice}" for notice in told)
    first = runs.iloc[0]
    return TaskRuns(
        label=label,
        metric=first["metric"],
        higher_is_better=bool(first["higher_is_better"]),
        objectives=tuple(first["objectives"]),
        trial_cost=float(first["trial_cost"] or np.nan),
        steps=int((first["protocol"] or {}).get("steps", 0)),
        methods=methods,
    )


def _method_runs(label: str, runs: pd.DataFrame) -> MethodRuns:
    width = max(1, max(len(scores) for scores in runs["retrained_test"]))

    def table(column: str, missing: float) -> np.ndarray:
        return np.array([[*values, *[missing] * (width - len(values))] for values in runs[column]])

    def bill(part: str) -> dict[str, np.ndarray]:
        return {field: runs.get(f"{part}_{field}", pd.Series(0.0, runs.index)).to_numpy(float) for field in BILL}

    return MethodRuns(
        label=label,
        method=runs["method"].iloc[0],
        seeds=tuple(int(seed) for seed in runs["seed"]),
        folders=tuple(runs["folder"]),
        test=table("retrained_test", np.nan),
        valid=table("retrained_valid", np.nan),
        retrain_seeds=table("retrained_seeds", -1),
        weights=np.array(runs["weights"].tolist(), dtype=float),
        schedules=tuple(runs["schedule"]),
        search_value=runs["value"].to_numpy(float),
        as_searched=runs["as_searched_test"].to_numpy(float),
        search=bill("search"),
        retraining=bill("retraining"),
        trials=tuple(read_trials(Path(folder)) for folder in runs["folder"]),
        higher_is_better=bool(runs["higher_is_better"].iloc[0]),
    )


def _key(row: Mapping[Any, Any], columns: tuple[str, ...]) -> str:
    return json.dumps({column: row[column] for column in columns}, sort_keys=True, default=str)


def _variant_labels(runs: pd.DataFrame) -> list[str]:
    """`tpe`, or `tapweight [solver=cg]` where runs of a method differ in options or budget."""
    settings = [
        {**(row["method_options"] or {}), **{f"budget.{k}": v for k, v in (row["budget"] or {}).items()}}
        for row in runs.to_dict("records")
    ]
    by_method: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for method, own in zip(runs["method"], settings, strict=True):
        by_method[method].append(own)
    differing = {method: _differing_keys(others) for method, others in by_method.items()}
    labels = []
    for method, own in zip(runs["method"], settings, strict=True):
        said = ", ".join(f"{key.removeprefix('budget.')}={own.get(key, 'default')}" for key in differing[method])
        labels.append(f"{method} [{said}]" if said else method)
    return labels


def _differing_keys(records: list[dict[str, Any]]) -> list[str]:
    keys = sorted({key for record in records for key in record})
    return [key for key in keys if len({json.dumps(record.get(key), default=str) for record in records}) > 1]


def _difference(problem: str, problems: list[str]) -> str:
    """What tells this setting from the task's others, in brackets; empty if it is the only one."""
    flat = [_flatten(json.loads(other)) for other in problems]
    own = _flatten(json.loads(problem))
    said = ", ".join(f"{key.rpartition('.')[2]}={_short(own.get(key))}" for key in _differing_keys(flat)[:3])
    return f" [{said}]" if said else ""


def _flatten(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _short(value: object) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else text[:8]
