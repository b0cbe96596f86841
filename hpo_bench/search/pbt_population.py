"""What happens in a population: a member trains, scores and saves; the scheduler decides who copies whom. Imports Ray.

A unit of work is one interval of one lineage (see `pbt_units`). A finished unit
lies in `workspace/units`: a result (JSON) and, as long as somebody may go on from it, a checkpoint. So a resumed search
finds what was done, whoever did it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import ProblemSpec
from hpo_bench.core.rng import derive_seed
from hpo_bench.records.files import write_whole
from hpo_bench.search.pbt_units import read_unit, unit_key
from hpo_bench.search.workers import bill_path, billed_to, build_problem

_WORST = 1e30  # score of a diverged member: the scheduler leaves NaN where it is, and replaces the worst


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
        unit = read_unit(self._workspace / "units", key)
        trained = unit is None
        if unit is None:
            with billed_to(bill_path(self._workspace, key), self._problem.meter) as spent:
                value = self._train(parent, key, end - start)
                unit = {"unit": key, "pieces": pieces, "value": value, "cost": spent().to_json()}
            write_whole(self._workspace / "units" / f"{key}.json", json.dumps(unit).encode())
        worst = -_WORST if self._problem.metric.higher_is_better else _WORST
        return {
            "score": worst if unit["value"] is None else unit["value"],
            "scored": len(pieces),
            "pieces": pieces,
            "unit": unit,
            "trained": trained,  # now, and not by a process that was killed since
        }

    def _train(self, parent: str | None, key: str, steps: int) -> float | None:
        """Train and score; None if a loss is not finite, here or before."""
        units, meter = self._workspace / "units", self._problem.meter
        try:
            with meter.phase("orchestration"):
                trial = self._problem.start_trial()
                if parent is not None:
                    before = read_unit(units, parent)
                    if before is not None and before["value"] is None:
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
