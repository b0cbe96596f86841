"""Seconds of 100 trivial trials with 2 workers: this suite's loop against Ray Tune's own, in one Ray session.

    python benchmarks/orchestration.py --trials 100 --rounds 3

Both train the same trials (the closed-form task, one step) at the same weights. The suite's loop also writes every
trial to disk before it goes on (trials.jsonl, fsync), Tune its experiment's state now and then. Rounds alternate; the
ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

from hpo_bench.core.problem import ProblemSpec
from hpo_bench.records.journal import Journal
from hpo_bench.search.random import Random
from hpo_bench.search.session import ray_session
from hpo_bench.search.trials import whole_trial
from hpo_bench.search.workers import build_problem
from hpo_bench.testing.problems import quick_problem

WORKERS = 2


def suite(trials: int, folder: Path) -> list[float]:
    """Values of the trials, by `random` with two workers."""
    problem = quick_problem(str(trials), steps=1)
    journal = Journal.open(folder, problem.meter)
    Random(workers=WORKERS).search(problem, journal)
    return [record.value for record in journal.trials if record.value is not None]


def tune(trials: int, folder: Path) -> list[float]:
    """The same by Ray Tune, as its manual has it: a function, a grid of configurations, actors that are reused."""
    from ray import tune

    problem, method = quick_problem(str(trials), steps=1), Random()
    assert problem.spec is not None
    spec = problem.spec

    def train(config: dict) -> None:
        own = made(spec)
        tune.report({"value": whole_trial(own, config["weights"]).value})

    weights = [method.propose(problem, number).tolist() for number in range(trials)]
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"weights": tune.grid_search(weights)},
        tune_config=tune.TuneConfig(max_concurrent_trials=WORKERS, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    results = tuner.fit()
    return [(results[number].metrics or {})["value"] for number in range(len(results))]


def made(spec: ProblemSpec):
    return build_problem(spec, WORKERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    seconds: dict[str, list[float]] = {"suite": [], "tune": []}
    with tempfile.TemporaryDirectory(prefix="hb-bench-") as place, ray_session(Path(place), WORKERS):
        for number in range(-1, asked.rounds):  # the first round warms both up: processes start, torch is imported
            values = {}
            for name, loop in (("suite", suite), ("tune", tune)):
                trials = asked.trials if number >= 0 else 2 * WORKERS
                before = time.perf_counter()
                values[name] = loop(trials, Path(place) / f"{name}-{number}")
                if number >= 0:
                    seconds[name].append(time.perf_counter() - before)
            assert sorted(values["suite"]) == sorted(values["tune"]), "both train the same"
    medians = {name: statistics.median(all_of) for name, all_of in seconds.items()}
    for name, all_of in seconds.items():
        print(f"{name:6} {asked.trials} trials: {medians[name]:.2f} s, rounds {[round(one, 2) for one in all_of]}")
    print(f"tune / suite = {medians['tune'] / medians['suite']:.2f}")


if __name__ == "__main__":
    main()
