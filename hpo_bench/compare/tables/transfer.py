"""Effects on valid and on test side by side, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo_bench.compare.stats.transfer import Transfer
from hpo_bench.compare.tables.fidelity import told

if TYPE_CHECKING:
    from rich.table import Table


def transfer_table(found: Transfer) -> Table:
    """A line per objective, then the cosines and what a choice gains; intervals are 95 % ones over seeds."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{found.task}: effects of objectives on {found.metric}, {len(found.seeds)} seeds; more is better"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(("", "valid", "test")):
        table.add_column(name, justify="left" if index == 0 else "right")
    for name, valid, test in zip(found.objectives, found.valid_effects, found.test_effects, strict=True):
        table.add_row(name, f"{valid:+.4f}", f"{test:+.4f}")
    table.add_section()
    table.add_row("cosine of a seed's valid effects to others'", told(found.valid_to_valid), told(found.valid_to_test))
    table.add_row("cosine of a seed's test effects to others'", "", told(found.test_to_test))
    gains = (("best on valid, minus equal", found.chosen), ("best on test, minus equal", found.possible))
    for name, gain in gains:
        table.add_row(name, "", f"{gain.value:+.4f} ± {gain.half_width:.4f}" if gain.has_interval else "–")
    return table
