"""TensorBoard event files: how the weights moved, and the valid score of every trial."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from hpo_bench.records.files import remove_files
from hpo_bench.records.load import readable
from hpo_bench.records.schema import read_trajectory, read_trials

OURS = ".hpo_bench"


def write_events(path: Path, out: Path) -> list[Path]:
    """One log folder a run, `out/<task>/<method>/seed-<r>`; look at them with `tensorboard --logdir OUT`.

    Scalars: `weights/<objective>` by pretraining step (`weights/<objective>/trial-<n>` where several trials wrote
    there), `trial/valid` and `trial/step_equivalents` (spent so far) by trial, `retrained/valid` and `retrained/test`
    by retraining. Old event files of ours in a log folder are replaced; ours have `hpo_bench` at the end of their name.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import scalar

    written = []
    for folder, record in readable(path):
        # Task, method and seed, with the labels of a study's variants.
        logs = out.joinpath(*[part for part in folder.resolve().parts[-3:] if part != folder.resolve().anchor])
        remove_files(logs, r"events\.out\.tfevents\..*" + re.escape(OURS))
        logs.mkdir(parents=True, exist_ok=True)
        writer = EventsWriter(str(logs / "events"), OURS)  # SummaryWriter's thread would trip over a full disk at exit
        for name, step, value in scalars(folder, record):
            # the time of the run, not of the export
            writer.write_event(Event(wall_time=_started(record), step=step, summary=scalar(name, value)))
        writer.close()
        written.append(logs)
    return written


def scalars(folder: Path, record: dict[str, Any]) -> list[tuple[str, int, float]]:
    """(name, step, value) of everything in a run that is a curve."""
    lines = read_trajectory(folder)
    several = len({str(line.get("trial")) for line in lines}) > 1
    found: list[tuple[str, int, float]] = []
    for line in lines:
        suffix = f"/trial-{line.get('trial')}" if several else ""
        for objective, weight in zip(record.get("objectives") or [], line["weights"], strict=True):
            found.append((f"weights/{objective}{suffix}", int(line["step"]), float(weight)))
    for trial in read_trials(folder):
        if trial.get("value") is not None:
            found.append(("trial/valid", int(trial["number"]), float(trial["value"])))
        found.append(("trial/step_equivalents", int(trial["number"]), float(trial["spent"]["step_equivalents"])))
    result = (record.get("result") if record["status"] == "done" else None) or {}
    for entry in result.get("retrained") or []:
        for name in ("valid", "test"):
            if entry.get(name) is not None:
                found.append((f"retrained/{name}", int(entry["index"]), float(entry[name])))
    return found


def _started(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["started"]).timestamp() if record.get("started") else 0.0
