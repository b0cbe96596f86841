"""The result on one page: a matrix of methods × tasks and the sentences, and how it is put into another text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo_bench.compare.stats.aggregate import Overall
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import method_order, metric_name
from hpo_bench.compare.tables.over_tasks import gain
from hpo_bench.compare.tables.table import by_task, number, plus_minus
from hpo_bench.errors import UserError
from hpo_bench.records.files import write_changed

BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"


def brief_markdown(rows: Sequence[Row], overall: Sequence[Overall], reference: str, sentences: Sequence[str]) -> str:
    """Test scores with 95 % intervals, one line a method, one column a task; gain and cost; then the sentences."""
    groups = by_task(rows)
    scores = {(row.task, row.method): plus_minus(row.test) for row in rows}
    methods = method_order({row.method for row in rows})
    gains = {entry.method: gain(entry.mean) for entry in overall}
    header = ["method", *(f"{task}, {_direction(group[0])}" for task, group in groups.items())]
    header += [f"gain over {reference}, %"] * bool(gains) + ["search, trials"]
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    for method in methods:
        costs = [row.trials_worth for row in rows if row.method == method]
        whole = len(costs) == len(groups)  # a mean over some tasks is not to be set beside one over others
        line = [method, *(scores.get((task, method), "") for task in groups)]
        line += [gains.get(method, "")] * bool(gains) + [number(sum(costs) / len(costs)) if whole else ""]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in sentences)]) + "\n"


def insert(text: str, path: Path) -> None:
    """Put `text` between the markers of a Markdown file, in place of what was there.

    Raises:
        UserError: the file cannot be read or written, or has no markers.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            old = file.read()
        head, begun, rest = old.partition(BEGIN)
        _, ended, tail = rest.partition(END)
        if not begun or not ended:
            raise UserError(f"{path} has no place for the result", f"put a line {BEGIN} and below it a line {END}")
        end = "\r\n" if "\r\n" in old else "\n"
        new = head + f"{BEGIN}\n{text}{END}".replace("\n", end) + tail
        write_changed(path.resolve(), new.encode())  # aside: a full disk must not leave half of somebody's README
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be changed: {why}", "name a Markdown file with --insert, on a disk with room"
        ) from error


def _direction(row: Row) -> str:
    return f"{metric_name(row.metric)} {'↑' if row.higher_is_better else '↓'}"
