"""How probable is it that two methods are equivalent for all practical purposes? A region that the user names decides.

The posterior of the mean paired difference, with the usual flat prior, is Student's: n - 1 degrees of freedom, centre
the mean d of the n repetitions' differences, scale s sqrt(1/n + r/(1 - r)), where r is the correlation between
repetitions (Corani & Benavoli 2015; Benavoli et al. 2017, JMLR 18:77, eq. 8; the package baycomp). Repetitions have
seeds of their own, so r = 0; it is not 0 for folds of a cross-validation, which share training rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hpo_bench.compare.cohort import TaskRuns, aligned
from hpo_bench.compare.stats.aggregate import task_gains
from hpo_bench.compare.stats.intervals import repetition_means
from hpo_bench.errors import UserError

SURE = 0.95


@dataclass(frozen=True)
class Region:
    """Differences up to `width` are no difference: in units of the metric, or as a share of the reference's error."""

    width: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Region:
        """`0.005` is in units of the metric, `2%` a share of the reference's error.

        Raises:
            UserError: neither, or not above 0.
        """
        relative = text.strip().endswith("%")
        try:
            width = float(text.strip().removesuffix("%")) / (100 if relative else 1)
        except ValueError:
            width = math.nan
        if not (math.isfinite(width) and width > 0):
            raise UserError(
                f"--equivalent {text!r} is no size of a difference",
                "give a number above 0 in units of the metric (0.005), or a share of the reference's error (2%)",
            )
        return cls(width, relative)

    def __str__(self) -> str:
        return f"±{100 * self.width:g} % of its error" if self.relative else f"±{self.width:g}"


@dataclass(frozen=True)
class Equivalence:
    """Probabilities that a method is worse than the reference, equivalent, and better; NaN below 2 repetitions."""

    task: str
    method: str
    worse: float
    equivalent: float
    better: float
    n: int


def probabilities(gains: np.ndarray, width: float, correlation: float = 0.0) -> tuple[float, float, float]:
    """That the mean of `gains` (R,) is below -width, within ±width, and above width; NaN for fewer than two.

    Args:
        correlation: between repetitions, 0 <= r < 1.
    """
    gains = np.asarray(gains, dtype=float)
    n = len(gains)
    if n < 2:
        return math.nan, math.nan, math.nan
    centre = float(gains.mean())
    scale = float(gains.std(ddof=1)) * math.sqrt(1 / n + correlation / (1 - correlation))
    if scale == 0:  # all alike: no doubt is left
        return float(centre < -width), float(abs(centre) <= width), float(centre > width)
    worse = float(stats.t.cdf(-width, n - 1, centre, scale))
    better = float(stats.t.sf(width, n - 1, centre, scale))
    return worse, max(0.0, 1 - worse - better), better


def equivalences(task: TaskRuns, reference: str, region: Region) -> list[Equivalence]:
    """Every method of a task against the reference on the seeds that both have."""
    base = task.methods.get(reference)
    found = []
    for label, runs in task.methods.items():
        if base is None or label == reference:
            continue
        if region.relative:
            gains = task_gains(task, label, reference)
            means = np.zeros(0) if gains is None else repetition_means(gains)
        else:
            mine, theirs = aligned(runs, base)
            means = repetition_means((mine - theirs) if task.higher_is_better else (theirs - mine))
        found.append(Equivalence(task.label, label, *probabilities(means, region.width), len(means)))
    return found
