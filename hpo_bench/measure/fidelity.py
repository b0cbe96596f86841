"""Measure how well estimators predict what weights do: their learned weights against a landscape, with their costs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo_bench.compare.charts.forest import fidelity_points
from hpo_bench.compare.charts.printed import save
from hpo_bench.compare.stats.fidelity import Fidelity, fidelity
from hpo_bench.compare.stats.simplex import Simplex
from hpo_bench.core.budget import Budget
from hpo_bench.errors import UserError
from hpo_bench.measure import landscape
from hpo_bench.records.files import write_changed
from hpo_bench.run.config import RunConfig, configure
from hpo_bench.run.runner import Observer, run, supported
from hpo_bench.tasks.base import LoadedTask

BUDGET = 100.0  # trials: no estimator is kept from finishing, what it cost is in the table


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A method with its options, as `name` or `name:option=value,option=value`."""

    text: str
    method: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Estimator:
        """Read `name` or `name:option=value,option=value`.

        Raises:
            UserError: an option has no value.
        """
        method, _, rest = text.partition(":")
        pairs = [part.partition("=") for part in rest.split(",") if part]
        if not method or any(not sign or not value for _, sign, value in pairs):
            raise UserError(f"{text!r} is no estimator", "write METHOD or METHOD:option=value,option=value")
        return cls(text, method, {name: value for name, _, value in pairs})

    @property
    def label(self) -> str:
        """Of its folder: what the options say."""
        return "_".join(f"{name}-{value}" for name, value in self.options.items())


def plan(task: str, estimators: Sequence[str], **settings: Any) -> list[tuple[Estimator, RunConfig]]:
    """The first seed's configuration of every estimator; `settings` as for `configure`. Test is not read.

    Raises:
        UserError: an unknown method or option.
    """
    planned = []
    for one in map(Estimator.parse, estimators):
        config = configure(one.method, task, method_options=one.options, method_label=one.label, retrains=0, **settings)
        planned.append((one, dataclasses.replace(config, budget=Budget(trials=BUDGET))))
    return planned


def measure(
    config: RunConfig,
    planned: Sequence[tuple[Estimator, RunConfig]],
    seeds: int,
    loaded: LoadedTask,
    observer: Observer | None = None,
    found: Simplex | None = None,
) -> Fidelity:
    """The landscape of seeds `config.seed`, …, then every estimator with as many seeds of its own, none of them shared.

    What is on record is not trained again; `found` is a landscape that was measured before.

    Raises:
        UserError: what `run` refuses.
    """
    for _, own in planned:  # before the landscape, which takes longest
        supported(own, loaded.task)
    found = found or landscape.measure(config, seeds, loaded, observer)
    first = max(found.seeds) + 1
    learned = []
    for estimator, own in planned:
        weights, costs = [], []
        for number in range(seeds):
            record = run(own.repetition(first + number), observer, loaded).content
            weights.append(record["result"]["weights"])
            costs.append(record["cost"]["search"]["step_equivalents"] / record["trial_cost"])
        learned.append((estimator.text, np.array(weights), costs))
    return fidelity(found, learned)


def write(found: Fidelity, folder: Path) -> list[Path]:
    """fidelity.json, .png and .svg in `folder`."""
    path = folder / "fidelity.json"
    write_changed(path, (json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    return [path, *save(fidelity_points(found), folder / "fidelity")]
