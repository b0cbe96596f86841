"""What verbs that measure do with what they found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def hand_over(
    as_json: str | None, shown: Callable[[], tuple[Any, ...]], folder: Path, write: Callable[[], list[Path]]
) -> None:
    """Print `as_json`, or where it is None what is `shown`, sentences and tables; then write, and say what on stderr.

    In this order: what was measured is seen, whatever becomes of the files in `folder`.
    """
    from hpo_bench.records.run_folder import writing

    if as_json is not None:
        print(as_json)
    else:
        from rich.console import Console

        console = Console(markup=False)
        for part in shown():
            console.print(part, style="bold" if isinstance(part, str) else None, highlight=False)
    with writing(folder):
        files = write()
    print(f"files: {', '.join(map(str, files))}", file=sys.stderr)
