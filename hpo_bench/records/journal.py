"""What a running search writes down as it happens, and reads back after a kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpo_bench.core.checkpoint import write_whole
from hpo_bench.core.cost import Cost
from hpo_bench.core.meter import CostMeter
from hpo_bench.errors import UserError

TrialState = Literal["done", "pruned", "diverged"]
BILL_INTERVAL = 0.5  # seconds between two copies of the bill on disk: at most this much of a killed run goes unbilled


@dataclass(frozen=True)
class TrialRecord:
    """One line of trials.jsonl."""

    number: int
    state: TrialState
    weights: list[float]  # (K,), final weights of the trial
    value: float | None  # valid score; None if diverged
    cost: dict[str, float]  # of this trial alone
    spent: dict[str, float]  # bill of the whole run when the trial ended
    schedule: list[Any] | None = None  # pieces, if the weights changed on the way
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """What a progress display shows."""

    message: str
    fraction: float  # share of the budget spent
    weights: Sequence[float] | None = None
    value: float | None = None


class Journal:
    """Append-only files of one search in its run folder: trials.jsonl, trajectory.jsonl, bill.json, workspace/.

    Lines are flushed to disk as they are written; a last line cut short by a kill is dropped when reading.
    """

    def __init__(self, folder: Path, meter: CostMeter, observer: Callable[[Progress], None] | None = None) -> None:
        self.folder, self.meter = folder, meter
        self.workspace = folder / "workspace"  # the method's own files: checkpoints, an Optuna study
        self.workspace.mkdir(parents=True, exist_ok=True)
        self._observer = observer
        self._saved = 0.0
        bill = folder / "bill.json"
        if bill.exists():
            try:
                meter.total = Cost.from_json(json.loads(bill.read_text()))
            except (ValueError, TypeError, AttributeError) as error:
                remedy = f"move {folder} away and run again"
                raise UserError(f"the bill {bill} cannot be read: {error}", remedy) from error
        meter.heartbeat = self._heartbeat
        self._drop_torn_lines()

    @property
    def trials(self) -> list[TrialRecord]:
        """Trials recorded so far, in order."""
        return [TrialRecord(**line) for line in read_lines(self.folder / "trials.jsonl")]

    @property
    def trajectory(self) -> list[dict[str, Any]]:
        """Recorded changes of weights, in order."""
        return read_lines(self.folder / "trajectory.jsonl")

    def record_trial(
        self,
        number: int,
        weights: Sequence[float],
        value: float | None,
        cost: Cost,
        *,
        state: TrialState = "done",
        schedule: list[Any] | None = None,
        note: dict[str, Any] | None = None,
    ) -> None:
        """Append a trial that ended; the bill is saved with it."""
        spent = self.save_bill()
        record = TrialRecord(
            number, state, [float(w) for w in weights], value, cost.to_json(), spent.to_json(), schedule, note or {}
        )
        append_line(self.folder / "trials.jsonl", asdict(record))

    def record_weights(self, step: int, weights: Sequence[float], **more: Any) -> None:
        """Append a change of weights at a pretraining step; `more` holds JSON values (trial, losses, hypergradient)."""
        line = {"step": step, "weights": [float(w) for w in weights], **more}
        append_line(self.folder / "trajectory.jsonl", line, durable=False)

    def truncate_trajectory(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop lines that a resumed run will write again."""
        lines = [json.dumps(line) + "\n" for line in self.trajectory if keep(line)]
        write_whole(self.folder / "trajectory.jsonl", "".join(lines).encode())

    def report(self, progress: Progress) -> None:
        """Tell whoever watches."""
        if self._observer is not None:
            self._observer(progress)

    def save_bill(self) -> Cost:
        """Write the bill so far to disk and return it."""
        cost = self.meter.snapshot()
        write_whole(self.folder / "bill.json", json.dumps(cost.to_json()).encode())
        self._saved = time.monotonic()
        return cost

    def _heartbeat(self) -> None:
        if time.monotonic() - self._saved > BILL_INTERVAL:
            self.save_bill()

    def _drop_torn_lines(self) -> None:
        for name in ("trials.jsonl", "trajectory.jsonl", "tests.jsonl"):
            path = self.folder / name
            if path.exists() and not path.read_bytes().endswith(b"\n"):
                whole = path.read_bytes().rpartition(b"\n")[0]
                write_whole(path, whole + b"\n" if whole else b"")


def append_line(path: Path, line: dict[str, Any], *, durable: bool = True) -> None:
    """Append one JSON line; `durable` waits until it is on disk."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        if durable:
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a JSON-lines file; none if there is no file.

    Raises:
        UserError: a whole line that is not a JSON object; file and line are named.
    """
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError) as error:
            remedy = f"move {path.parent} away and run again"
            raise UserError(f"{path}, line {number}, is damaged: {error}", remedy) from error
    return lines
