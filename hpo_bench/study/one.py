"""One run of a study, in a process of its own: `python -m hpo_bench.study.one`, with its order on stdin.

A method that uses Ray starts its own session here, as it does in `run`: it never meets the study's. The process ends
when stdin closes or when who gave the order is gone, whoever of the two is killed first. `scratch` in an order is a
folder that goes with it, `loaded` a file with the task, pickled.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from filelock import Timeout

from hpo_bench.errors import UserError
from hpo_bench.records.files import locked
from hpo_bench.records.schema import read_run
from hpo_bench.study.plan import from_words

_GRACE = 5.0  # seconds to end in order
_PATIENCE = 60  # seconds that the process of a killed study may take to let go of a run


def main() -> None:
    """Do the run and print how it ended, as a line of JSON."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # Ray's workers ignore the first, and that is inherited
        signal.signal(stop, signal.default_int_handler)
    order = json.loads(sys.stdin.readline())
    scratch, alone = order.get("scratch"), threading.Event()
    watch = threading.Thread(target=_end_with, args=(order["study"], scratch, alone), daemon=True)
    try:
        watch.start()
        print(json.dumps(_outcome(order["words"], order.get("loaded"))), flush=True)
    finally:
        if scratch is not None and alone.is_set():  # else who gave the order reads it, and removes it
            shutil.rmtree(scratch, ignore_errors=True)


def _outcome(words: dict[str, Any], loaded: str | None) -> dict[str, Any]:
    from hpo_bench.run.runner import run

    config = from_words(words)
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        with locked(config.folder / ".lock", timeout=_PATIENCE):
            pass
        task = pickle.loads(Path(loaded).read_bytes()) if loaded else None  # from the study, through Ray
        content = run(config, loaded=task).content
    except Timeout:
        return {"status": "failed", "error": f"another process is running in {config.folder}"}
    except UserError as error:
        status = "diverged" if _recorded(config.folder) == "diverged" else "failed"
        return {"status": status, "error": str(error)}
    return {"status": content["status"], "error": content.get("error")}


def _recorded(folder: Any) -> str | None:
    try:
        return read_run(folder)["status"]
    except UserError:
        return None


def _end_with(study: int, scratch: str | None, alone: threading.Event) -> None:
    """Watch stdin and the study's process; end this one when either is gone."""
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if (readable and not os.read(sys.stdin.fileno(), 1)) or not _alive(study):
            alone.set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(_GRACE)
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            os._exit(1)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
