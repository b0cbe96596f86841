"""What a population decides: Ray Tune's scheduler says who copies whom. Imports Ray.

Ray's `PopulationBasedTraining` compares members and makes new configurations; the members are trained elsewhere. So it
is shown a `Member` where Tune would have a trial, and the `Population` where it would have its controller.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import PopulationBasedTraining

from hpo_bench.core.rng import derive_seed

_WORST = 1e30  # score of a diverged member: the scheduler leaves NaN where it is, and replaces the worst


class Member:
    """A member as the scheduler sees it. `config`: its weights, and the pieces [first step, weights] behind it."""

    status = "PAUSED"  # all wait for each other; RUNNING would be asked to pause

    def __init__(self, number: int, weights: list[float]) -> None:
        self.number, self.trial_id, self.experiment_tag = number, f"member_{number}", str(number)
        self.config: dict[str, Any] = {"weights": weights, "pieces": []}
        self.run_metadata = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        )

    def is_finished(self) -> bool:
        return False


class Population:
    """P members that are scored together, interval by interval."""

    search_alg = None

    def __init__(
        self, weights: list[list[float]], seed: int, *, quantile: float, resample: float, spread: float, better: str
    ) -> None:
        self.members = [Member(number, own) for number, own in enumerate(weights)]
        self._sign = 1.0 if better == "max" else -1.0
        self._scheduler: Any = SeededPbt(
            seed,
            time_attr="scored",
            perturbation_interval=1,
            custom_explore_fn=lambda config: explore(config, resample, spread),
            quantile_fraction=quantile,
            log_config=False,
            synch=True,
            metric="score",
            mode=better,
        )
        for member in self.members:
            self._scheduler.on_trial_add(self, member)  # type: ignore[arg-type]

    def get_trials(self) -> list[Member]:
        return self.members

    get_live_trials = get_trials

    def scored(self, units: list[dict[str, Any]]) -> None:
        """All members have trained an interval; afterwards each one's configuration is that of the next.

        `units`: in the order of the members, with "pieces" and "value", None for one that diverged.
        """
        for member, unit in zip(self.members, units, strict=True):
            score = -self._sign * _WORST if unit["value"] is None else unit["value"]
            result = {"score": score, "scored": len(unit["pieces"]), "pieces": unit["pieces"]}
            self._scheduler.on_trial_result(self, member, result)


class SeededPbt(PopulationBasedTraining):
    """Ray's scheduler, made exact: who waits, who is in which quantile and when is Ray's, two things are not.

    Its draws come from the global `random`, seeded here for each draw from (seed, interval, member). And a copy of
    another member travels in the configuration, as the weights that led to it (`pieces`), not as a Ray checkpoint.
    """

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self._seed = seed

    def _checkpoint_or_exploit(
        self, trial: Any, tune_controller: Any, upper_quantile: Any, lower_quantile: Any
    ) -> None:
        parent, config = trial, trial.config
        if trial in lower_quantile:
            interval = self._trial_state[trial].last_train_time
            with seeded_random(derive_seed(self._seed, "pbt", "explore", interval, trial.number)):
                parent = random.choice(upper_quantile)
                config, _ = self._get_new_config(trial, parent)
        result = self._trial_state[parent].last_result
        assert result is not None  # all members have been scored
        trial.config = {**config, "pieces": result["pieces"]}


@contextmanager
def seeded_random(seed: int) -> Iterator[None]:
    """Seed the global `random` inside the block and restore it afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def explore(config: dict[str, Any], resample: float, spread: float) -> dict[str, Any]:
    """The configuration with new weights; draws from the global `random`, which the scheduler has seeded."""
    draw = np.random.default_rng(random.getrandbits(63))
    weights = np.asarray(config["weights"])
    if draw.random() < resample:
        weights = draw.dirichlet(np.ones(len(weights)))
    else:
        weights = weights * np.exp(spread * draw.standard_normal(len(weights)))
    return {**config, "weights": (weights / weights.sum()).tolist()}
