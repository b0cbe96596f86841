"""Tables of methods over tasks that need no interval: performance profiles, probabilities of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpo_bench.compare.stats.equivalence import SURE, Equivalence, Region
from hpo_bench.compare.stats.profiles import Profile

if TYPE_CHECKING:
    from rich.table import Table

FACTORS = (1.0, 1.01, 1.02, 1.05, 1.1)


@dataclass(frozen=True)
class Matrix:
    """A title, the names of the columns, and rows of texts, the method first; one sentence below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    sentence: str = ""

    def terminal(self) -> Table:
        """For the terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For papers and pull requests."""
        head = ["| " + " | ".join(self.columns) + " |", "| --- |" + " ---: |" * (len(self.columns) - 1)]
        lines = [f"### {self.title}", "", *head, *("| " + " | ".join(row) + " |" for row in self.rows)]
        return "\n".join([*lines, *(["", self.sentence] if self.sentence else [])]) + "\n"


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
