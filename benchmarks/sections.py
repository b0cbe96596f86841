"""The sections of the device suite. Each gives rows: a figure's name, what was found, its goal, is it reached."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import device_models
import device_steps
import device_trials
from device_steps import Row, Size

from hpo_bench import registry
from hpo_bench.errors import UserError
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task, run

ROOT = Path(__file__).resolve().parents[1]
TESTS = ["tests/core/test_core_captured.py", "tests/search/test_task_contract.py"]
MORE_TESTS = [
    "tests/tasks/molecule/test_molecule_contract.py",
    "tests/tasks/molecule/test_molecule_stalls.py",
    "tests/tasks/molecule/test_molecule_padded.py",
    "tests/tasks/molecule/test_molecule_assembled.py",
    "tests/tasks/molecule/test_molecule_fused.py",
    "tests/tasks/text/test_text_contract.py",
    "tests/tasks/text/test_text_fixed.py",
    "tests/tasks/text/test_text_norms.py",
    "tests/tasks/image/test_image_contract.py",
    "tests/tapweight/test_recording.py",
    "tests/tapweight/test_finite.py",
]
TWICE = ("equal", "implicit")  # a trial's core alone, and everything that a hypergradient adds


def tests(size: Size) -> Iterator[Row]:
    """Contract tests on the device; what they check is said by their names."""
    chosen = TESTS if size.small else TESTS + MORE_TESTS
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "HPO_BENCH_TEST_DEVICE": str(size.device)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    last = next((line for line in reversed(done.stdout.splitlines()) if re.search(r"passed|failed|error", line)), "")
    if done.returncode:
        errors = sorted(set(re.findall(r"^E  +(\S.*)", done.stdout, re.MULTILINE)))
        for line in errors[:5]:
            yield "a test's error", line[:150], "–", None
    for line in sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)))[:10]:
        yield f"`{line}`", "failed", "passes", False
    yield "tests", last.strip("= "), "none fails", done.returncode == 0


def runs(size: Size) -> Iterator[Row]:
    """One `run` of each method, some of them twice."""
    task = "quadratic" if size.small else "bace"
    loaded = load_task(task, configure("equal", task, out=Path("runs"), preset="quick").task_options, str(size.device))
    for name in registry.names(registry.METHODS):
        if size.small and name not in TWICE:
            continue
        found: list[Any] = []
        start = time.perf_counter()
        try:
            for _ in range(2 if name in TWICE else 1):
                found.append(_result(name, task, size, loaded))
        except (UserError, ImportError) as error:  # a budget that is too small, a package that is not here
            told = str(error).splitlines()[0][:150]
            yield f"`run --method {name} --task {task}`", f"not run: {told}", "–", None
            continue
        except Exception as error:  # one method's failure must not hide the others
            told = f"{type(error).__name__}: {error}".splitlines()[0][:150]
            yield f"`run --method {name} --task {task}`", told, "ends", False
            continue
        seconds = (time.perf_counter() - start) / len(found)
        tests_ = ", ".join(f"{line['test']:.4f}" for line in found[0]["retrained"])
        yield f"`run --method {name} --task {task}`", f"{seconds:.1f} s, test {tests_}", "ends", True
        if len(found) == 2:
            same = found[0] == found[1]
            yield f"the same run of {name} twice", "identical" if same else "different", "identical", same


def _result(method: str, task: str, size: Size, loaded: Any) -> Any:
    """Weights and scores of a short run: what the record says of its result, without costs."""
    with tempfile.TemporaryDirectory() as folder:
        config = configure(
            method,
            task,
            out=Path(folder),
            preset="quick",
            budget="7",
            retrains=1,
            protocol={"steps": 30 if size.small else 60, "epochs": 2},
            device=str(size.device),
        )
        result = run(config, loaded=loaded).content["result"]
    for line in result["retrained"]:
        del line["cost"]
    return result


SECTIONS: dict[str, Callable[[Size], Iterator[Row]]] = {
    "determinism": device_steps.determinism,
    "steps": device_steps.steps,
    "bert": device_models.bert,
    "hypergradient": device_models.hypergradient,
    "images": device_models.images,
    "trials": device_trials.trials,
    "runs": runs,
    "tests": tests,
}
