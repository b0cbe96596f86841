"""Does what weights do on valid hold on test? Every search chooses on valid; this bounds what choosing can be worth.

The effects of objectives on valid and on test (`stats.fidelity`) come from the same trainings, of several seeds. One
seed's valid effects are held against the other seeds' test effects, so that no training's own noise is on both sides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpo_bench.compare.stats.fidelity import centred_cosine, effects
from hpo_bench.compare.stats.intervals import Estimate, correlation_interval, mean_interval
from hpo_bench.errors import UserError
from hpo_bench.records.files import without_nan


@dataclass(frozen=True)
class Transfer:
    """Over seeds: cosines of one seed's valid effects to the others' valid and test effects, and what a choice gains.

    `chosen` is the test score, less the centre's, of the weighting that one seed's valid scores put first, read on the
    other seeds; `possible` is the same of the weighting that the seed's test scores put first. The better direction is
    positive.
    """

    task: str
    metric: str
    objectives: tuple[str, ...]
    seeds: tuple[int, ...]
    valid_effects: tuple[float, ...]
    test_effects: tuple[float, ...]
    valid_to_valid: Estimate
    valid_to_test: Estimate
    test_to_test: Estimate
    chosen: Estimate
    possible: Estimate
    left_out: int  # weightings under which a training diverged

    @property
    def sentence(self) -> str:
        """What a person asks first."""
        found, best = self.valid_to_test, self.chosen
        if not found.has_interval:
            return f"With {len(self.seeds)} seed nothing can be said of {self.task}; give --seeds 3 or more."
        verdict = (
            "holds on test" if found.low > 0 else "is reversed on test" if found.high < 0 else "may not hold on test"
        )
        left_out = f" {self.left_out} weightings are not counted, where a trial diverged." if self.left_out else ""
        side = "better" if best.value >= 0 else "worse"
        return (
            f"What weights do on {self.task}'s valid split {verdict}: centred cosine of effects {found.value:+.2f} "
            f"({max(-1, found.low):+.2f} to {min(1, found.high):+.2f}). On test the weighting that valid puts first is "
            f"{abs(best.value):.4f} ± {best.half_width:.4f} {side} than equal weights.{left_out}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return without_nan({"sentence": self.sentence, **asdict(self)})


def transfer(
    task: str,
    metric: str,
    objectives: tuple[str, ...],
    seeds: tuple[int, ...],
    weights: np.ndarray,
    valid: np.ndarray,
    test: np.ndarray,
) -> Transfer:
    """From weightings (P, K), the centre first, and their scores (P, S) on valid and test, more being better.

    A weighting without a score of every seed on both (NaN) is left out, and counted.

    Raises:
        UserError: the centre is such a one, or all others are.
    """
    whole = np.isfinite(valid).all(axis=1) & np.isfinite(test).all(axis=1)
    if not whole[0] or whole.sum() < 2:
        what = "equal weights" if not whole[0] else "all weights but equal ones"
        raise UserError(
            f"{task}: under {what} a training diverged: there is nothing to compare",
            "lower the learning rate (--set learning_rate=…) with another --out",
        )
    weights, valid, test = weights[whole], valid[whole], test[whole]
    on_valid, on_test = effects(weights, valid), effects(weights, test)
    several = range(len(seeds)) if len(seeds) > 1 else range(0)

    def across(ones: np.ndarray, others: np.ndarray) -> Estimate:
        found = [centred_cosine(ones[seed], np.delete(others, seed, axis=0).mean(axis=0)) for seed in several]
        return correlation_interval(np.array(found))

    chosen, possible = [], []
    for seed in several:
        rest = np.delete(test, seed, axis=1).mean(axis=1)
        gain = rest - rest[0]
        chosen.append(gain[valid[:, seed].argmax()])
        possible.append(gain[test[:, seed].argmax()])
    return Transfer(
        task,
        metric,
        objectives,
        seeds,
        tuple(on_valid.mean(axis=0).tolist()),
        tuple(on_test.mean(axis=0).tolist()),
        across(on_valid, on_valid),
        across(on_valid, on_test),
        across(on_test, on_test),
        mean_interval(np.array(chosen)),
        mean_interval(np.array(possible)),
        int((~whole).sum()),
    )
