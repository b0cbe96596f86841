"""Made-up records for tests of `compare`: numbers from a formula and a seed, no training behind them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

OBJECTIVES = ("atom", "bond", "motif", "cluster", "contrast", "descriptor")
TRIAL_COST = 1467.0
GAIN = {"none": -0.02, "equal": 0.0, "random": 0.004, "grid": 0.006, "tpe": 0.012, "pbt": 0.01, "tapweight": 0.011}


def write_runs(
    root: Path,
    *,
    methods: tuple[str, ...] = ("equal", "random", "grid", "tpe", "pbt", "tapweight"),
    tasks: tuple[str, ...] = ("bace",),
    repetitions: int = 3,
    retrains: int = 3,
    trials: int = 16,
    objectives: tuple[str, ...] = OBJECTIVES,
    noise: float = 0.012,
    effect: float = 1.0,
) -> Path:
    """A tree of finished runs `root/task/method/seed-r` with paired seeds; returns `root`."""
    for task in tasks:
        for method in methods:
            for seed in range(repetitions):
                write_run(root, task, method, seed, retrains, trials, objectives, noise, effect)
    return root


def write_run(
    root: Path,
    task: str = "bace",
    method: str = "tpe",
    seed: int = 0,
    retrains: int = 3,
    trials: int = 16,
    objectives: tuple[str, ...] = OBJECTIVES,
    noise: float = 0.012,
    effect: float = 1.0,
    **changes: Any,
) -> Path:
    """One run folder; `changes` replace top-level entries of run.json, and single ones of its `config`."""
    rng = np.random.default_rng([seed, *hashlib.sha256(f"{task}/{method}".encode()).digest()[:4]])
    lower = task in ("esol", "freesolv", "lipophilicity")
    start, sign = (1.2, -4.0) if lower else (0.76, 1.0)
    start += 0.1 * (sum(map(ord, task)) % 7) / 7
    optimum = np.linspace(2, 0.4, len(objectives))
    optimum /= optimum.sum()

    def valid(weights: np.ndarray, chance: float) -> float:
        return start + sign * (0.03 - effect * 0.25 * float(((weights - optimum) ** 2).sum()) + chance)

    folder = root / task / method / f"seed-{seed}"
    folder.mkdir(parents=True)
    count = {"none": 1, "equal": 1, "tapweight": 1}.get(method, trials)
    shared = np.random.default_rng([seed, 5]).normal(0, noise)
    grid = np.random.default_rng(99).dirichlet(np.ones(len(objectives)), trials)
    lines, spent, best = [], 0.0, None
    price = TRIAL_COST * (2.3 if method == "tapweight" else 1.0)
    for number in range(count):
        weights = grid[number] if method == "grid" else rng.dirichlet(np.full(len(objectives), 1.5))
        if number == 0 and method in ("equal", "grid", "pbt", "tpe"):
            weights = np.full(len(objectives), 1 / len(objectives))
        if method == "none":
            weights = np.zeros(len(objectives))
        if method == "tapweight":
            weights = 0.6 * optimum + 0.4 * weights
        if method == "tpe" and number > 5:
            weights = 0.5 * weights + 0.5 * optimum
        value = valid(weights, shared + rng.normal(0, noise / 3))
        spent += price * rng.uniform(0.9, 1.0)
        better = best is None or (value < best[0] if lower else value > best[0])
        best = (value, weights) if better else best
        lines.append(
            {"number": number, "state": "done", "weights": weights.tolist(), "value": value,
             "cost": bill(price), "spent": bill(spent, method), "schedule": None, "note": {}}
        )  # fmt: skip
    assert best is not None
    value, weights = best
    schedule: list[Any] = [[0, weights.tolist()]]
    if method == "pbt":
        middle = rng.dirichlet(np.full(len(objectives), 4.0))
        equal = np.full(len(objectives), 1 / len(objectives))
        schedule = [[0, equal.tolist()], [100, middle.tolist()], [200, weights.tolist()]]
    if method == "tapweight":
        path = [
            (300 - step) / 300 / len(objectives) + step / 300 * (weights + rng.normal(0, 0.01, len(objectives)))
            for step in range(0, 301, 10)
        ]
        rows = [{"step": 10 * i, "weights": (np.abs(w) / np.abs(w).sum()).tolist()} for i, w in enumerate(path)]
        (folder / "trajectory.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    gain = effect * GAIN.get(method, 0.003)
    retrained = []
    for index in range(retrains):
        pair = np.random.default_rng([seed, index, 7]).normal(0, noise)
        own = rng.normal(0, noise / 2)
        retrained.append(
            {"index": index, "seed": 1000 * seed + index, "valid": valid(weights, pair + own),
             "test": start + sign * (gain + pair + own - 0.02), "cost": bill(TRIAL_COST)}
        )  # fmt: skip
    searched = {"valid": value, "test": start + sign * (gain - 0.025) + rng.normal(0, noise)}
    record = {
        "schema": 2, "status": "done", "error": None, "method": method, "task": task, "seed": seed,
        "config": {"method_options": {}, "task_options": {}, "preset": "standard",
                   "protocol": {"steps": 300, "mode": "full"},
                   "budget": {"trials": trials, "step_equivalents": None, "seconds": None},
                   "retrains": retrains, "device": "cpu"},
        "objectives": list(objectives),
        "metric": {"name": "rmse" if lower else "roc_auc", "higher_is_better": not lower},
        "data": {"source": "synthetic"}, "base_id": "0" * 64, "trial_cost": TRIAL_COST,
        "content": {"table": "a" * 64, "split": "b" * 64, "corpus": "c" * 64},
        "environments": [{"session": 1, "git_commit": "f" * 40, "git_dirty": False, "python": "3.11.7",
                          "platform": "Linux", "versions": {"torch": "2.13.0"}, "processor": "x86_64", "cores": 2,
                          "threads": 1, "accelerator": None}],
        "started": "2026-11-01T10:00:00+00:00", "ended": "2026-11-01T10:10:00+00:00", "sessions": 1,
        "result": {"weights": weights.tolist(), "schedule": schedule, "value": value,
                   "as_searched": searched if method == "tapweight" else None, "retrained": retrained},
        "cost": {"search": bill(spent, method), "retraining": bill(TRIAL_COST * retrains)},
    }  # fmt: skip
    changes["config"] = {**record["config"], **changes.get("config", {})}  # type: ignore[dict-item]
    (folder / "run.json").write_text(json.dumps({**record, **changes}))
    return folder


def bill(step_equivalents: float, method: str = "equal") -> dict[str, float]:
    """A bill in the proportions of a real one."""
    seconds = step_equivalents / 40
    share = 0.4 if method == "tapweight" else 0.0
    return {
        "step_equivalents": step_equivalents,
        "flops": step_equivalents * 1e9,
        "seconds_pretraining": seconds * 0.7 * (1 - share),
        "seconds_adaptation": seconds * 0.25,
        "seconds_hypergradient": seconds * 0.7 * share,
        "seconds_evaluation": seconds * 0.04,
        "seconds_orchestration": seconds * (0.2 if method == "pbt" else 0.01),
        "peak_memory_bytes": 1.3e9,
    }
