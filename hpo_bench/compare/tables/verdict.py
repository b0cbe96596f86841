"""Sentences that a person reads first: do weights matter here, and which method is worth its cost."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.cohort import TaskRuns, aligned
from hpo_bench.compare.stats.blocks import retrained_blocks, tried_blocks
from hpo_bench.compare.stats.paired import compare_paired
from hpo_bench.compare.stats.power import ALPHA, POWER, seen_by
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.stats.variance import VarianceShare, variance_share
from hpo_bench.compare.style import metric_name
from hpo_bench.compare.tables.table import number, p_equals, score, signed
from hpo_bench.records.shown import shown

NEEDS = "at least two weightings scored with the same two seeds: run two methods with --repeats 3"


def pretraining_pays(task: TaskRuns, reference: str, rng: np.random.Generator) -> str:
    """Is continued pretraining under the reference's weights better than the base alone? The first question."""
    base, other = task.base_alone, task.methods.get(reference)
    if base is None or other is None:
        missing = "a run without continued pretraining" if base is None else f"a run of {reference}"
        return f"On {task.label} it is not known whether continued pretraining pays; it takes {missing}."
    found = compare_paired(*aligned(other, base), rng, higher_is_better=task.higher_is_better)
    what = f"continued pretraining ({reference}) against the base alone: {signed(found.difference)}"
    if not found.difference.has_interval:
        return f"On {task.label} {what} test {metric_name(task.metric)}; two repetitions or more give an interval."
    better = (found.difference.value > 0) == task.higher_is_better
    said = ("it pays" if better else "it harms") if found.difference.excludes(0) else "it cannot be told from noise"
    return f"On {task.label} {what} test {metric_name(task.metric)} ({p_equals(found.p_sign_flip)}): {said}."


def power_of(task: TaskRuns, reference: str) -> str:
    """What the seeds can see: the smallest difference, and how many seeds the largest one seen would take."""
    found = seen_by(task, reference)
    if found is None:
        return ""
    sentence = (
        f"On {task.label} {found.n} paired seeds find a true difference to {reference} of {score(found.detectable)} or "
        f"more {100 * POWER:.0f} times in 100 (t-test at {100 * ALPHA:.0f} %); smaller ones mostly go unseen."
    )
    if found.seeds is None:
        return f"{sentence} The largest one seen is 0." if found.largest == 0 else sentence
    largest = f"{'+' if found.largest > 0 else ''}{shown(found.largest, 3, found.detectable)}"
    if abs(found.largest) >= found.detectable:
        return f"{sentence} {found.method} differs by {largest}, and {_seeds(found.seeds)} would do."
    return f"{sentence} If {found.method} truly differs by the {largest} seen, it takes {_seeds(found.seeds)}."


def _seeds(count: int) -> str:
    return f"{count:,} seed{'' if count == 1 else 's'}"


def weights_matter(task: TaskRuns, rng: np.random.Generator) -> tuple[str, dict[str, VarianceShare | None]]:
    """The sentence on variance, and the shares behind it: test scores after retraining, valid scores of trials."""
    found = variance_share(retrained_blocks(task), rng)
    tried = variance_share(tried_blocks(task), rng)
    parts = []
    if found is not None:
        parts.append(_share(found, f"the test {metric_name(task.metric)} among the weights found"))
    if tried is not None:
        parts.append(_share(tried, f"the valid {metric_name(task.metric)} among the weights tried"))
    if not parts:
        sentence = f"On {task.label} nothing can be said on whether weights matter; it takes {NEEDS}."
    else:
        sentence = f"On {task.label} the choice of weights explains {' and '.join(parts)}."
    return sentence, {"test_found": found, "valid_tried": tried}


def verdict(task: TaskRuns, rows: list[Row], reference: str, rng: np.random.Generator) -> str:
    """Which method to use: the best mean, the cheapest one that cannot be told from it, and the reference."""
    usable = [row for row in rows if np.isfinite(row.test.value)]
    if not usable:
        return f"On {task.label} no method has a test score."
    sign = 1 if task.higher_is_better else -1

    def rank(row: Row) -> tuple[float, float]:
        return sign * row.test.value, -row.cost

    best = max(usable, key=rank)
    if len(usable) == 1:
        return f"On {task.label} only {best.method} was run: {score(best.test.value)}, nothing to compare with."
    repeated = [row for row in usable if row.n >= 2]
    if not repeated:
        return (
            f"On {task.label} {best.method} has the best test score ({score(best.test.value)}), but with one "
            "repetition no difference can be told from noise; run with --repeats 3 or more."
        )
    told = ""
    if best.n < 2:
        told = (
            f"{best.method} has the best test score ({score(best.test.value)}) by one repetition, which cannot be "
            "told from noise; of those with more, "
        )
    sentence = f"On {task.label} {told}{_worth(task, repeated, max(repeated, key=rank), rng)}"
    return sentence + _against(rows, reference)


def _worth(task: TaskRuns, rows: list[Row], best: Row, rng: np.random.Generator) -> str:
    for row in sorted(rows, key=lambda row: row.cost):
        if row is best:
            break
        difference = compare_paired(*aligned(task.methods[row.method], task.methods[best.method]), rng).difference
        if difference.has_interval and not difference.excludes(0):
            cheaper = row.cost < 0.95 * best.cost
            factor = f"{_fraction(row.cost / best.cost)} of its cost" if cheaper else "the same cost"
            return f"{row.method} is within the noise of {best.method}, the best, at {factor} ({signed(difference)})."
    cheapest = min(rows, key=lambda row: row.cost)
    if cheapest is best:
        return f"{best.method} has the best test score ({score(best.test.value)}) and is the cheapest."
    return f"{best.method} is the best ({score(best.test.value)}); no cheaper method is within its noise."


def _against(rows: list[Row], reference: str) -> str:
    """Who differs from the reference, which way, and what is left after correction."""
    compared = [row for row in rows if row.versus is not None and row.versus.difference.has_interval]
    if not compared:
        return ""
    clear = [row for row in compared if row.versus is not None and row.versus.difference.excludes(0)]
    if not clear:
        return f" No method is clear of {reference}: every paired interval contains 0."
    said = [f"{row.method} {signed(row.versus.difference)} ({_way(row)})" for row in clear if row.versus]
    kept = [f"{row.method} ({p_equals(row.p_holm)})" for row in clear if row.p_holm < 0.05]
    after = ", ".join(kept) if kept else "none"
    return f" Clear of {reference} one by one: {', '.join(said)}; after correction for {len(compared)}: {after}."


def _way(row: Row) -> str:
    """A difference of RMSE is good where it is negative: say so."""
    assert row.versus is not None
    return "better" if (row.versus.difference.value > 0) == row.higher_is_better else "worse"


def _fraction(ratio: float) -> str:
    if ratio > 0.75:
        return f"{100 * ratio:.0f} %"
    return f"1/{number(float(f'{1 / ratio:.2g}'))}" if ratio > 0 else "none"


def _share(share: VarianceShare, what: str) -> str:
    weights = share.weights
    interval = f" ({100 * weights.low:.0f}–{100 * weights.high:.0f} %)" if weights.has_interval else ""
    return f"{100 * weights.value:.0f} %{interval} of the variance of {what} ({p_equals(share.p)})"
