"""Does weighting matter here, measured on purpose: vertices, centre and edge midpoints of the simplex x paired seeds.

The records are those of a grid of resolution 2, the {K, 2} simplex lattice of Scheffé (1958) and its centroid: exactly
the K vertices, the K (K - 1) / 2 edge midpoints and the centre. Scores are valid scores; test is not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.stats.intervals import Estimate, mean_interval
from hpo_bench.compare.stats.paired import PairedComparison, compare_paired, holm
from hpo_bench.compare.stats.variance import VarianceShare, variance_share
from hpo_bench.compare.style import metric_name
from hpo_bench.compare.tables.table import p_equals
from hpo_bench.errors import UserError


@dataclass(frozen=True)
class Point:
    """One weighting: its weights (K,), valid score over seeds, and the paired difference to the centre.

    `versus` is None for the centre itself; `p_holm` is its sign-flip p-value, corrected for all points.
    """

    name: str
    weights: tuple[float, ...]
    valid: Estimate
    versus: PairedComparison | None
    p_holm: float


@dataclass(frozen=True)
class Simplex:
    """All points, the centre first, and the shares of variance of weights, seeds and rest (None with one seed)."""

    task: str
    metric: str
    higher_is_better: bool
    objectives: tuple[str, ...]
    seeds: tuple[int, ...]
    values: np.ndarray  # (P, S), NaN where a trial diverged
    points: list[Point]
    variance: VarianceShare | None

    @property
    def sentence(self) -> str:
        """What a person asks first."""
        what = f"the valid {metric_name(self.metric)} on {self.task}"
        if self.variance is None:
            return f"With one seed nothing can be said on whether weights matter for {what}; give --seeds 3 or more."
        share = self.variance
        interval = f" ({100 * share.weights.low:.0f}–{100 * share.weights.high:.0f} %)"
        interval = interval if share.weights.has_interval else ""
        return (
            f"The choice of weights explains {100 * share.weights.value:.0f} %{interval} of the variance of {what} "
            f"({p_equals(share.p)}), seeds {100 * share.seeds:.0f} %, their interaction and noise "
            f"{100 * share.rest:.0f} %; {share.weightings} weightings × {len(self.seeds)} seeds{self._left_out(share)}."
        )

    def _left_out(self, share: VarianceShare) -> str:
        """The worst weightings are those that diverge: whoever reads a share has to know that they are not in it."""
        count = len(self.points) - share.weightings
        return f"; {count} more not counted, where a trial diverged" if count else ""

    def frame(self) -> pd.DataFrame:
        """One line per point: weights, valid score with interval, difference to the centre, the score of every seed."""
        rows = []
        for point, own in zip(self.points, self.values, strict=True):
            row: dict[str, Any] = {"task": self.task, "point": point.name}
            row |= {f"weight_{name}": weight for name, weight in zip(self.objectives, point.weights, strict=True)}
            row |= {"valid": point.valid.value, "valid_low": point.valid.low, "valid_high": point.valid.high}
            versus = point.versus.difference if point.versus else Estimate(math.nan)
            row |= {"minus_centre": versus.value, "minus_centre_low": versus.low, "minus_centre_high": versus.high}
            row |= {"p_sign_flip": point.versus.p_sign_flip if point.versus else math.nan, "p_holm": point.p_holm}
            row |= {f"valid_seed_{seed}": value for seed, value in zip(self.seeds, own.tolist(), strict=True)}
            rows.append(row)
        return pd.DataFrame(rows)


def simplex(task: TaskRuns, rng: np.random.Generator) -> Simplex:
    """The points of a task's one method, measured with every seed.

    Raises:
        UserError: the centre gave no score, so that there is nothing to compare with.
    """
    (runs,) = task.methods.values()
    size = len(task.objectives)
    tables = [{tuple(np.round(trial["weights"], 6)): trial.get("value") for trial in trials} for trials in runs.trials]
    # Seeds visit the points in different orders; here: the centre, then vertices, then edges.
    keys = sorted(tables[0], key=lambda key: (_support(key) != size, _support(key), tuple(-w for w in key)))
    found = [[table.get(key) for table in tables] for key in keys]
    values = np.array([[math.nan if value is None else float(value) for value in row] for row in found])
    centre = values[0]
    if not np.isfinite(centre).any():
        raise UserError(
            f"no trial at the centre of the simplex ended with a score on {task.label}",
            "each run's trials.jsonl says what became of its trials",
        )
    versus = [None] + [compare_paired(own, centre, rng, higher_is_better=task.higher_is_better) for own in values[1:]]
    corrected = holm(np.array([found.p_sign_flip if found else math.nan for found in versus]))
    points = [
        Point(_name(key, task.objectives), tuple(float(w) for w in key), mean_interval(own), other, float(p))
        for key, own, other, p in zip(keys, values, versus, corrected, strict=True)
    ]
    whole = values[np.isfinite(values).all(axis=1)]
    return Simplex(
        task.label,
        task.metric,
        task.higher_is_better,
        task.objectives,
        runs.seeds,
        values,
        points,
        variance_share([whole], rng) if len(whole) else None,
    )


def _support(key: tuple[float, ...]) -> int:
    return sum(weight > 0 for weight in key)


def _name(key: tuple[float, ...], objectives: tuple[str, ...]) -> str:
    if _support(key) == len(objectives):
        return "centre"
    return " + ".join(name for name, weight in zip(objectives, key, strict=True) if weight > 0)
