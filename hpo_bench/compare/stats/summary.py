"""One row per task and method: scores with intervals, the paired difference to the reference, the bill."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hpo_bench.compare.cohort import BILL, MethodRuns, TaskRuns, aligned
from hpo_bench.compare.stats.costs import cost_to_reach, near_best, pareto_front
from hpo_bench.compare.stats.intervals import Estimate, mean_interval
from hpo_bench.compare.stats.paired import PairedComparison, compare_paired, holm


@dataclass(frozen=True)
class Row:
    """What the table says of one method on one task.

    Attributes:
        n, retrainings: repetitions, and scored retrainings in all of them.
        weights, weights_sd: final weights (K,), mean and standard deviation over repetitions.
        valid, test: after retraining, mean over repetitions. `search_value` is the valid score that the search itself
            saw: it was selected, so it flatters.
        as_searched: test score of the encoder that a single-run search ended with; n = 0 where there is none.
        versus: paired comparison with the reference; None for the reference itself or if there is none.
        p_holm: sign-flip p-value of `versus`, corrected for the methods compared on this task.
        bill: the search, mean over repetitions, by field of `Cost` (peak memory: the largest).
        near_best_cost, near_best_runs: median step-equivalents to reach 99 % of the best valid score, runs that did.
        on_front: no other method is at most as dear and at least as good.
    """

    task: str
    method: str
    metric: str
    higher_is_better: bool
    objectives: tuple[str, ...]
    n: int
    retrainings: int
    weights: tuple[float, ...]
    weights_sd: tuple[float, ...]
    valid: Estimate
    test: Estimate
    search_value: Estimate
    as_searched: Estimate
    versus: PairedComparison | None
    p_holm: float
    bill: dict[str, float]
    retraining_bill: dict[str, float]
    trials_worth: float
    near_best_cost: float
    near_best_runs: int
    on_front: bool

    @property
    def cost(self) -> float:
        """Step-equivalents of the search, mean over repetitions."""
        return self.bill["step_equivalents"]

    @property
    def seconds_training(self) -> float:
        """Seconds in pretraining and adaptation; hypergradients have their own line."""
        return self.bill["seconds_pretraining"] + self.bill["seconds_adaptation"]


def summarise(task: TaskRuns, reference: str, rng: np.random.Generator) -> list[Row]:
    """Rows of one task, in the order of its methods."""
    base = task.methods.get(reference)
    rows = [_row(task, runs, base, rng) for runs in task.methods.values()]
    corrected = holm(np.array([row.versus.p_sign_flip if row.versus else math.nan for row in rows]))
    front = pareto_front(
        np.array([row.cost for row in rows]), np.array([row.test.value for row in rows]), task.higher_is_better
    )
    return [
        replace(row, p_holm=float(p), on_front=bool(best)) for row, p, best in zip(rows, corrected, front, strict=True)
    ]


def mean_bill(bill: dict[str, np.ndarray]) -> dict[str, float]:
    """A bill by field (R,) as one: means over repetitions, the largest peak memory."""
    return {field: float(bill[field].max() if field == "peak_memory_bytes" else bill[field].mean()) for field in BILL}


def _row(task: TaskRuns, runs: MethodRuns, base: MethodRuns | None, rng: np.random.Generator) -> Row:
    versus = None
    if base is not None and base.label != runs.label:
        mine, theirs = aligned(runs, base)
        versus = compare_paired(mine, theirs, rng, higher_is_better=task.higher_is_better)
    everyone = [value for other in task.methods.values() for value in other.search_value if math.isfinite(value)]
    reached, met = math.nan, 0
    if everyone:
        reached, met = cost_to_reach(runs.curves(), near_best(everyone, task.higher_is_better), task.higher_is_better)
    bill = mean_bill(runs.search)
    return Row(
        task=task.label,
        method=runs.label,
        metric=task.metric,
        higher_is_better=task.higher_is_better,
        objectives=task.objectives,
        n=len(runs.seeds),
        retrainings=int(np.isfinite(runs.test).sum()),
        weights=tuple(runs.weights.mean(axis=0).tolist()),
        weights_sd=tuple(runs.weights.std(axis=0, ddof=1).tolist()) if len(runs.seeds) > 1 else (),
        valid=mean_interval(runs.valid),
        test=mean_interval(runs.test),
        search_value=mean_interval(runs.search_value),
        as_searched=mean_interval(runs.as_searched),
        versus=versus,
        p_holm=math.nan,
        bill=bill,
        retraining_bill=mean_bill(runs.retraining),
        trials_worth=bill["step_equivalents"] / task.trial_cost,
        near_best_cost=reached,
        near_best_runs=met,
        on_front=False,
    )
