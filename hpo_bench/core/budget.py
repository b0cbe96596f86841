"""How much a run may spend: the total of the run, also after it was resumed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo_bench.core.cost import Cost
from hpo_bench.core.settings import real
from hpo_bench.errors import UserError

_UNITS = {"se": "step_equivalents", "s": "seconds", "t": "trials", "": "trials"}  # tried in this order


@dataclass(frozen=True)
class Budget:
    """Whichever limit is reached first ends the search; None is no limit. Trials are whole trials of the protocol."""

    trials: float | None = None
    step_equivalents: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.trials, self.step_equivalents, self.seconds) if limit is not None]
        if not limits:
            raise UserError("a budget needs at least one limit", "give --budget 16 (trials), 5000se or 600s")
        if not all(0 < limit < math.inf for limit in limits):
            raise UserError("a budget must be positive and finite", "give --budget 16 (trials), 5000se or 600s")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`16` or `16t` trials, `5000se` step-equivalents, `600s` seconds; several joined by commas.

        Raises:
            UserError: anything else, and a kind of limit given twice.
        """
        remedy = "give trials (16), step-equivalents (5000se), seconds (600s), or several joined by commas"
        limits: dict[str, float] = {}
        for part in text.replace(" ", "").split(","):
            suffix = next(end for end in _UNITS if part.endswith(end))
            number, key = part.removesuffix(suffix), _UNITS[suffix]
            if key in limits:
                raise UserError(f"the budget {text!r} limits {key.replace('_', '-')} twice", remedy)
            limit = real(number)
            if limit is None:
                raise UserError(f"cannot read the budget {text!r}", remedy)
            limits[key] = limit
        return cls(**limits)

    def fraction(self, trials: float, cost: Cost) -> float:
        """The share of the budget that is spent: the largest over its limits. At 1 or more it is used up."""
        shares = [0.0]
        if self.trials is not None:
            shares.append(trials / self.trials)
        if self.step_equivalents is not None:
            shares.append(cost.step_equivalents / self.step_equivalents)
        if self.seconds is not None:
            shares.append(cost.seconds / self.seconds)
        return max(shares)

    def affordable_trials(self, trial_cost: float) -> int:
        """Whole trials that trials and step-equivalents pay for, at `trial_cost` step-equivalents each (0: none)."""
        counts = []
        if self.trials is not None:
            counts.append(int(self.trials))
        if self.step_equivalents is not None:
            counts.append(int(self.step_equivalents / trial_cost + 1e-9))  # n trials' cost pays for n
        return min(counts) if counts else 10**6

    def to_json(self) -> dict[str, float | None]:
        return {"trials": self.trials, "step_equivalents": self.step_equivalents, "seconds": self.seconds}
