"""A table of texts, written once: for the terminal, Markdown and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True)
class Matrix:
    """A title, the names of the columns, rows of texts that begin with a name, and a sentence below."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    sentence: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        yield table
        if self.sentence:
            yield Text(f"{self.sentence}\n", style="bold")

    def markdown(self) -> str:
        """For papers and pull requests."""
        head = ["| " + " | ".join(self.columns) + " |", "| --- |" + " ---: |" * (len(self.columns) - 1)]
        lines = [f"### {self.title}", "", *head, *("| " + " | ".join(row) + " |" for row in self.rows)]
        return "\n".join([*lines, *(["", self.sentence] if self.sentence else [])]) + "\n"
