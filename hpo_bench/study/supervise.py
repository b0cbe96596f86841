"""In a Ray worker: one run of a study in a process of its own, on this machine or on one that shares nothing with it.

What a worker yields: parcels of the run's folder, as it changes, where the run is abroad; a dict with `status` and
`error` at last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo_bench.core.cores import cores
from hpo_bench.study.carry import Packer, Parcel, unpack
from hpo_bench.study.plan import from_words

_TELL = 1.0  # seconds between two looks at the run's folder: at most this much of a lost machine is done again


def at_home(order: dict[str, Any], log: str, environment: dict[str, str], folder: str) -> Iterator[dict[str, Any]]:
    """A run in the study's own folders."""
    process = RunProcess(order, Path(log), environment, folder)
    yield process.outcome()


def abroad(words: dict[str, Any], before: Parcel, source: list[Any], cpus: int) -> Iterator[Parcel | dict[str, Any]]:
    """A run in a folder of this machine, which ends with it.

    Args:
        before: the run's folder as the study has it.
        source: the loaded task, pickled, in Ray's store, if this machine need not load it.
        cpus: that the run holds.
    """
    import ray

    with tempfile.TemporaryDirectory(prefix="hb-run-") as place:
        words = {**words, "out": f"{place}/runs"}
        folder = from_words(words).folder
        folder.mkdir(parents=True)
        unpack(folder, before)
        order = {"words": words, "study": os.getpid(), "scratch": place}
        if source:
            loaded = Path(place, "task")
            loaded.write_bytes(ray.get(source[0]))
            order["loaded"] = str(loaded)
        process = RunProcess(order, Path(place) / "log", _environment(cpus), place)
        packer = Packer(folder)
        while not process.ended(_TELL):
            if (parcel := packer.pack()) is not None:
                yield parcel
        outcome = process.outcome()
        if (parcel := packer.pack()) is not None:
            yield parcel
        yield {**outcome, "log": process.log.read_text(encoding="utf-8", errors="replace")}


def _environment(cpus: int) -> dict[str, str]:
    """This machine's, with the run's share of its cores, and no Ray but the run's own."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    there = next((node["Resources"].get("CPU", 1.0) for node in ray.nodes() if node["NodeID"] == here), 1.0)
    threads = {"HPO_BENCH_THREADS": str(max(1, int(cores() * cpus / max(there, 1.0))))}
    return threads | {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


class RunProcess:
    """A process that does a run, and ends with this one: its stdin closes."""

    def __init__(self, order: dict[str, Any], log: Path, environment: dict[str, str], folder: str) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as told:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hpo_bench.study.one"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                env=environment,
                cwd=folder,
                text=True,
                start_new_session=True,  # Ctrl-C is the study's business
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines = self._process.stdout.read().splitlines()  # to the end; stdin stays open meanwhile

    def ended(self, timeout: float) -> bool:
        """Has it, after so many seconds at most?"""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def outcome(self) -> dict[str, Any]:
        """How the run ended, once it did."""
        self._reader.join()
        code = self._process.wait()
        if code == 0 and self._lines:
            return json.loads(self._lines[-1])
        last = (self.log.read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1]
        reason = f"killed by signal {-code}, out of memory?" if code < 0 else last
        return {"status": "failed", "error": reason}
