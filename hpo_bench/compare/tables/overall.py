"""The table over all tasks: relative gain against the reference with intervals, and average ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_bench.compare.stats.aggregate import Overall
from hpo_bench.compare.stats.intervals import Estimate

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = ("method", "tasks", "mean gain, %", "interquartile mean, %", "better, %", "average rank")


def overall_table(rows: Sequence[Overall], reference: str) -> Table:
    """For the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=_title(reference), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(HEADERS):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def overall_markdown(rows: Sequence[Overall], reference: str) -> str:
    """For papers and pull requests."""
    lines = [f"### {_title(reference)}", "", "| " + " | ".join(HEADERS) + " |"]
    lines.append("| --- |" + " ---: |" * (len(HEADERS) - 1))
    return "\n".join([*lines, *("| " + " | ".join(cells(row)) + " |" for row in rows)]) + "\n"


def _title(reference: str) -> str:
    return f"all tasks: share of {reference}'s error taken away (95 % interval, stratified by task)"


def cells(row: Overall) -> tuple[str, ...]:
    """Texts of one row, in the order of HEADERS."""
    rank = f"{row.average_rank:.2f}" if math.isfinite(row.average_rank) else "–"
    return (
        row.method,
        str(row.tasks) if row.tasks else "",
        _gain(row.mean),
        _gain(row.iqm),
        _share(row.improvement),
        rank,
    )


def _share(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return ""
    ends = f" ({100 * estimate.low:.0f}–{100 * estimate.high:.0f})" if estimate.has_interval else ""
    return f"{100 * estimate.value:.0f}{ends}"


def _gain(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return ""
    half = f" ± {100 * estimate.half_width:.1f}" if estimate.has_interval else ""
    return f"{100 * estimate.value:+.1f}{half}"
