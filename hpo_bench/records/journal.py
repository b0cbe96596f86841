"""What a running search writes down as it happens, and reads back after a kill."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hpo_bench.core.cost import Cost
from hpo_bench.core.meter import CostMeter
from hpo_bench.errors import UserError
from hpo_bench.records import schema
from hpo_bench.records.files import append_line, drop_torn_line, own_folder, write_whole
from hpo_bench.records.schema import TrialState

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

    Lines are flushed to disk as they are written. `Journal.open` makes one that is ready to be written to.

    Attributes:
        workspace: a folder for the method's own files, such as checkpoints or an Optuna study.
        lost: step-equivalents on this session's bill for work that was lost, with a worker or with a killed process.
        on_node: told of every machine that works on the search, once each.
    """

    def __init__(self, folder: Path, meter: CostMeter, observer: Callable[[Progress], None] | None = None) -> None:
        self.folder, self.meter = folder, meter
        self.workspace = folder / "workspace"
        self.lost = 0.0
        self.on_node: Callable[[dict[str, Any]], None] | None = None
        self._observer = observer
        self._saved = 0.0

    @classmethod
    def open(cls, folder: Path, meter: CostMeter, observer: Callable[[Progress], None] | None = None) -> Journal:
        """Begin a session: make or mend the files, and let the meter go on from the bill of the sessions before.

        A last line that a kill cut short is dropped; all others are checked. The bill is the latest of bill.json and of
        what lines say was `spent`. From here on the meter saves itself while work goes on.

        Raises:
            UserError: a record is damaged, or a folder that files are written to and removed from is a link.
        """
        journal = cls(folder, meter, observer)
        own_folder(journal.workspace)
        for entry in journal.workspace.iterdir():
            if entry.is_symlink() and entry.is_dir():
                own_folder(entry)
        for name in ("trials.jsonl", "trajectory.jsonl", "tests.jsonl"):
            drop_torn_line(folder / name)
        meter.total = journal._bill()
        meter.heartbeat = journal._heartbeat
        return journal

    @property
    def trials(self) -> list[TrialRecord]:
        """Trials recorded so far, in order."""
        known = {f.name for f in fields(TrialRecord)}
        lines = schema.read_trials(self.folder)
        return [TrialRecord(**{key: line[key] for key in known & line.keys()}) for line in lines]

    @property
    def trajectory(self) -> list[dict[str, Any]]:
        """Recorded changes of weights, in order."""
        return schema.read_trajectory(self.folder)

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
        path = self.folder / "trials.jsonl"
        append_line(path, schema.check_line(schema.TrialLine, asdict(record), path))

    def record_weights(self, step: int, weights: Sequence[float], **more: Any) -> None:
        """Append a change of weights at a pretraining step; `more` holds JSON values (trial, losses, hypergradient)."""
        line = {"step": step, "weights": [float(w) for w in weights], **more}
        path = self.folder / "trajectory.jsonl"
        append_line(path, schema.check_line(schema.TrajectoryLine, line, path), durable=False)

    def rewind(self, step: int) -> None:
        """Drop the lines of the trajectory beyond `step`, the step that a resumed run goes on from.

        A run that was killed between two checkpoints trains the steps since the last one again and records their
        weights again. So whoever resumes calls this with the step of the checkpoint that was loaded, and with 0 where
        there is none, before it trains; without it those steps would be there twice.
        """
        lines = self.trajectory
        kept = [line for line in lines if line["step"] <= step]
        if len(kept) < len(lines):
            write_whole(self.folder / "trajectory.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())

    def record_node(self, hardware: dict[str, Any]) -> None:
        """A machine, described, has joined the work."""
        if self.on_node is not None:
            self.on_node(hardware)

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

    def _bill(self) -> Cost:
        """The latest bill that is on disk."""
        spent = [line["spent"] for line in (*schema.read_trials(self.folder), *self.trajectory) if line.get("spent")]
        bills = [Cost.from_json(bill) for bill in spent]
        try:
            bills.append(schema.read_bill(self.folder / "bill.json"))
        except UserError as error:
            remedy = "remove it: the bill then goes on from what the last line of trials.jsonl says was spent"
            raise UserError(error.message, remedy) from error
        except FileNotFoundError:
            if bills:
                warnings.warn(
                    f"{self.folder / 'bill.json'} is gone: the bill goes on from what the last line says was spent",
                    stacklevel=2,
                )
        return schema.largest(bills)
