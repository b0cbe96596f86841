"""Writes the errors that the tests measure into docs/log-hypergradients.md: `python -m tests.tapweight.table`."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "log-hypergradients.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "errors.json"
        os.environ["TAPWEIGHT_ERRORS"] = str(target)
        status = int(pytest.main([str(HERE), "-q", "--durations=10"]))
        if status:
            print("the tests did not pass: nothing written", file=sys.stderr)
            return status
        rows = json.loads(target.read_text())
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        errors[row["problem"], row["check"], row["solver"]].append(row["error"])
    lines = [
        f"Measured by `python -m tests.tapweight.table` with torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, one thread; seeds are in the tests. "
        "The largest relative error ‖got − expected‖ / ‖expected‖ over the cases of each line.",
        "",
        "| problem | against | solver or step | cases | largest error |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {problem} | {check} | {solver} | {len(values)} | {max(values):.1e} |"
        for (problem, check, solver), values in sorted(errors.items())
    ]
    text = DOCUMENT.read_text()
    head, rest = text.split(BEGIN)
    DOCUMENT.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
