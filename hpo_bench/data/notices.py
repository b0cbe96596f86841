"""What a person should know about their data: sentences with counts, and shares at which the program stops."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from hpo_bench.errors import UserError

OPTION = "allow_suspicious"
STOP_ABOVE = 0.2  # share of rows left out, or of test rows that are in train too, that nobody wants unawares
FEW = 5  # rows of a class below which a split's score is mostly luck
FAR, FAR_CODE = 100, 5  # widths of the middle half: from the median; of a repeated extreme (-999) from the next value
UNLIKE = 100  # times by which the spreads of labels may differ before one decides a mean over them


class Notices:
    """Sentences in the order in which they were found. `allowed` (the task option `allow_suspicious`) lets all pass."""

    def __init__(self, allowed: object = False) -> None:
        self.allowed = yes(OPTION, allowed)
        self.sentences: list[str] = []

    def say(self, *sentences: str) -> None:
        """For the record and the person."""
        self.sentences += sentences

    def count(self, found: int, total: int, what: str, stop_above: float = STOP_ABOVE) -> None:
        """Say `found of total what (share)`; nothing for none.

        Raises:
            UserError: the share is above `stop_above`, and that was not allowed.
        """
        if not found:
            return
        share = found / total
        sentence = f"{found:,} of {total:,} {what} ({_percent(share)})"
        if share > stop_above and not self.allowed:
            raise UserError(
                f"{sentence}: more than {stop_above:.0%}.",
                f"Mend the file, or go on with --task-option {OPTION}=yes.",
            )
        self.say(sentence)

    def leakage(self, what: str, parts: dict[str, Sequence[Hashable]]) -> None:
        """Say how many rows of valid and of test are in an earlier part too; `parts` are keys by train, valid, test."""
        names = list(parts)
        for number, name in enumerate(names[1:], 1):
            for earlier in names[:number]:
                known = set(parts[earlier])
                both = sum(key in known for key in parts[name])
                self.count(both, max(len(parts[name]), 1), f"{what} of {name} are in {earlier} too")

    def small(self, sizes: dict[str, int]) -> None:
        """Say which of valid and test have fewer than `FEW` rows."""
        thin = [f"{rows} in {name}" for name, rows in sizes.items() if name != "train" and rows < FEW]
        if thin:
            self.say(f"few rows: {', '.join(thin)}; scores there hang on single rows")

    def scarce(self, name: str, counts: dict[str, dict[str, int]]) -> None:
        """Say in which parts a class has fewer than `FEW` rows; `counts` are rows by part and class."""
        thin = [
            f"{rows} of class {word} in {part}"
            for part, of_class in counts.items()
            for word, rows in of_class.items()
            if rows < FEW
        ]
        if thin:
            self.say(f"few rows of a class in {name}: {', '.join(thin[:6])}; scores there hang on single rows")

    def far(self, name: str, values: np.ndarray, lines: np.ndarray | None = None) -> None:
        """Say which values (N,; NaN = missing) of a label are far from all others: a single one decides an RMSE."""
        known = np.flatnonzero(~np.isnan(values))
        low, middle, high = np.percentile(values[known], (25, 50, 75))
        found = np.abs(values[known] - middle) > FAR * (high - low)
        distinct = np.unique(values[known])
        for extreme, following in ((distinct[0], distinct[1:2]), (distinct[-1], distinct[-2:-1])):
            rows = values[known] == extreme
            found |= rows & (rows.sum() > 1) & bool(np.any(np.abs(extreme - following) > FAR_CODE * (high - low)))
        if high > low and found.any():
            first = known[np.flatnonzero(found)[0]]
            at = "" if lines is None else f", line {lines[first]}"
            self.say(
                f"{found.sum():,} of {len(known):,} values of {name} are far from all others (first: "
                f"{values[first]:g}{at}; half of them lie between {low:g} and {high:g}): a slip, or a code for a "
                "missing value?"
            )


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def yes(option: str, value: object) -> bool:
    """What a task option that is yes or no says.

    Raises:
        UserError: it says neither.
    """
    word = str(value).strip().casefold()
    if word in ("true", "yes", "1", "on"):
        return True
    if word in ("false", "no", "0", "off", "none"):
        return False
    raise UserError(f"the task option {option} is {value!r}", "write yes or no")
