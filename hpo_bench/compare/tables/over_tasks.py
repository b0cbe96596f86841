"""Tables of methods over tasks: gains and ranks, performance profiles, probabilities of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpo_bench.compare.stats.aggregate import Overall
from hpo_bench.compare.stats.equivalence import SURE, Equivalence, Region
from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.profiles import Profile
from hpo_bench.compare.tables.matrix import Matrix

FACTORS = (1.0, 1.01, 1.02, 1.05, 1.1)


def overall_table(rows: Sequence[Overall], reference: str, ranking: str) -> Matrix:
    """Gains against the reference over all tasks, and average ranks."""
    columns = ("method", "tasks", "mean gain, %", "interquartile mean, %", "better, %", "average rank")
    lines = []
    for row in rows:
        rank = f"{row.average_rank:.2f}" if math.isfinite(row.average_rank) else "–"
        gains = gain(row.mean), gain(row.iqm), _share(row.improvement)
        lines.append((row.method, str(row.tasks) if row.tasks else "", *gains, rank))
    title = f"all tasks: share of {reference}'s error taken away (95 % interval, stratified by task)"
    return Matrix(title, columns, lines, ranking)


def profile_table(found: Profile) -> Matrix:
    """Tasks on which a method's error is within a factor of the best, and its worst ratio."""
    count = len(found.ratios)
    shares = [found.within(factor) for factor in FACTORS]
    rows = []
    for place, label in enumerate(found.methods):
        worst = found.ratios[:, place].max()
        last = f"+{100 * (worst - 1):.1f} %" if math.isfinite(worst) else "not run"
        rows.append((label, *(f"{share[place] * count:.0f}" for share in shares), last))
    names = ("best", *(f"within {100 * (factor - 1):.0f} %" for factor in FACTORS[1:]))
    title = f"performance profile: on how many of {count} tasks the error is within so much of the best method's"
    return Matrix(title, ("method", *names, "at worst"), rows)


def equivalence_table(found: Sequence[Equivalence], region: Region, reference: str) -> Matrix:
    """Per cent worse / equivalent / better, method x task, and who is decided with 95 %."""
    tasks = tuple(dict.fromkeys(entry.task for entry in found))
    cells = {(entry.method, entry.task): _cell(entry) for entry in found}
    methods = dict.fromkeys(entry.method for entry in found)
    rows = [(method, *(cells.get((method, task), "") for task in tasks)) for method in methods]
    known = [entry for entry in found if math.isfinite(entry.equivalent)]
    decided = [
        f"{entry.method} on {entry.task} ({part})"
        for entry in known
        for part in ("worse", "equivalent", "better")
        if getattr(entry, part) > SURE
    ]
    said = f"{len(decided)} of {len(known)} decided with more than {100 * SURE:.0f} %"
    sentence = f"Practical equivalence to {reference}, region {region}: {said}: {', '.join(decided)}."
    if not decided:
        sentence = f"Practical equivalence to {reference}, region {region}: {said}; more seeds would tell."
    title = f"probability of being worse than {reference} / equivalent (within {region}) / better, %"
    return Matrix(title, ("method", *tasks), rows, sentence)


def _cell(entry: Equivalence) -> str:
    parts = np.array([entry.worse, entry.equivalent, entry.better])
    return " / ".join(f"{100 * part:.0f}" for part in parts) if np.isfinite(parts).all() else "–"


def gain(estimate: Estimate) -> str:
    """A share in per cent with its sign ± half its interval."""
    if not math.isfinite(estimate.value):
        return ""
    half = f" ± {100 * estimate.half_width:.1f}" if estimate.has_interval else ""
    return f"{100 * estimate.value:+.1f}{half}"


def _share(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return ""
    ends = f" ({100 * estimate.low:.0f}–{100 * estimate.high:.0f})" if estimate.has_interval else ""
    return f"{100 * estimate.value:.0f}{ends}"
