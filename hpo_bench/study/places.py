"""Where the runs of a study are done: on this machine, or on the machines of a cluster, which share no file with it."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hpo_bench.records.files import locked, write_whole
from hpo_bench.run.runner import load_task
from hpo_bench.study.carry import Packer, Parcel, unpack
from hpo_bench.study.plan import PlannedRun
from hpo_bench.study.supervise import abroad, at_home


class AtHome:
    """Runs are done on this machine, in the study's own folders."""

    def __init__(self, workspace: Path, environment: dict[str, str]) -> None:
        self._workspace, self._environment = workspace, environment

    def start(self, run: PlannedRun, need: int) -> Any:
        """Hand a run out; returns the stream of what its worker yields."""
        order = {"words": run.words, "study": os.getpid()}
        return _remote(at_home, asked(run, need)).remote(
            order, str(log_of(self._workspace, run).resolve()), self._environment, os.getcwd()
        )

    def hear(self, run: PlannedRun, word: Any) -> dict[str, Any] | None:
        """How the run ended, if this is it."""
        if word["status"] == "failed":
            word["error"] = f"{word['error']} (see {log_of(self._workspace, run).resolve()})"
        return word

    def let_go(self, run: PlannedRun) -> None:
        pass

    def close(self) -> None:
        pass


class Abroad:
    """Runs are done on a cluster's machines, which share no file with this one: what they record comes as values."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._locks: dict[str, ExitStack] = {}
        self._tasks: dict[str, list[Any]] = {}

    def start(self, run: PlannedRun, need: int) -> Any:
        """Hand a run out, with what is recorded of it; nobody else may write its folder meanwhile.

        Raises:
            filelock.Timeout: somebody does. UserError: its task cannot be loaded.
        """
        folder = run.config.folder
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(folder / ".lock"))
            before = Packer(folder).pack() or Parcel()
            stream = _remote(abroad, asked(run, need)).remote(run.words, before, self._task(run), need)
            self._locks[run.title] = stack.pop_all()
        return stream

    def _task(self, run: PlannedRun) -> list[Any]:
        """The task in Ray's store; a run that asks for GPUs loads it on their machine."""
        import cloudpickle
        import ray

        if run.resources.gpus:
            return []
        config = run.config
        key = json.dumps([config.task, config.task_options, config.device])
        if key not in self._tasks:
            loaded = load_task(config.task, config.task_options, config.device)
            self._tasks[key] = [ray.put(cloudpickle.dumps(loaded))]
        return self._tasks[key]

    def hear(self, run: PlannedRun, word: Any) -> dict[str, Any] | None:
        """Write down what the run recorded; how it ended, if this is it."""
        if isinstance(word, Parcel):
            unpack(run.config.folder, word)
            return None
        write_whole(log_of(self._workspace, run), word.pop("log").encode())
        return word

    def let_go(self, run: PlannedRun) -> None:
        self._locks.pop(run.title).close()

    def close(self) -> None:
        for stack in self._locks.values():
            stack.close()


def folders_of(workspace: Path) -> tuple[Path, ...]:
    """The folders that a study makes for itself, from the outermost."""
    return workspace.parent, workspace, workspace / "logs"


def log_of(workspace: Path, run: PlannedRun) -> Path:
    """What the run's process printed on stderr."""
    return workspace / "logs" / f"{run.task}-{run.method}-seed-{run.config.seed}.log"


def asked(run: PlannedRun, need: int) -> dict[str, float]:
    """What a run asks Ray for, in its names: `need` CPUs, and GPUs and bytes of memory where the study says so."""
    wanted = {"CPU": need, "GPU": run.resources.gpus or 0, "memory": (run.resources.memory_gb or 0) * 2**30}
    return {name: amount for name, amount in wanted.items() if amount}


def _remote(function: Any, wanted: dict[str, float]) -> Any:
    """The function as a Ray task that asks for that."""
    import ray

    given: dict[str, Any] = {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0), "max_retries": 0}
    if "memory" in wanted:
        given["memory"] = int(wanted["memory"])
    return ray.remote(**given)(function).options(num_returns="streaming")
