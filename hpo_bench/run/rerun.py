"""The command that repeats a recorded run."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from hpo_bench.core.protocol import Protocol
from hpo_bench.run import task_options
from hpo_bench.run.presets import PRESETS

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Protocol)}
USUAL = Path("runs")
_BUDGET_UNITS = {"trials": "t", "step_equivalents": "se", "seconds": "s"}


def rerun(content: dict[str, Any], out: Path | None = None) -> str:
    """The command that repeats a run; `content` is its run.json, `out` what the command gives as --out."""
    config = content["config"]
    words = ["hpo-bench", "run", "--method", content["method"], "--task", content["task"]]
    words += ["--seed", str(content["seed"]), "--preset", config["preset"]]
    budget = [(config["budget"].get(key), unit) for key, unit in _BUDGET_UNITS.items()]
    words += ["--budget", ",".join(f"{_exactly(limit)}{unit}" for limit, unit in budget if limit is not None)]
    words += ["--retrains", str(config["retrains"]), "--device", config["device"]]
    usual = content["preset_protocol"] if "preset_protocol" in content else _general(config["preset"])
    for key, value in config["protocol"].items():
        if key not in usual or value != usual[key]:
            words += ["--set", f"{key}={value}"]
    for key, value in config["method_options"].items():
        words += ["-o", f"{key}={value}"]
    words += task_options.words(config["task_options"])
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(words)


def _general(preset: str) -> dict[str, Any]:
    """What a preset means for every task that says nothing else."""
    return _DEFAULTS | (PRESETS[preset].protocol if preset in PRESETS else {})


def out_of(folder: Path, root: Path | None = None) -> Path | None:
    """The --out under which a run's folder is found again, below `root` (default: where it is); None: the usual one.

    A variant in a study has a label in its folder's name, which `run` does not know: it gets an --out of its own.
    """
    labels = [part.partition("@")[2] for part in folder.parts[-3:-1] if "@" in part]
    if root is None and (len(folder.parts) > 3 or labels):
        root = folder.parents[2]
    if root is None or (not labels and root == USUAL):
        return None
    return root.parent / "@".join([root.name or str(USUAL), *labels])


def _exactly(limit: float) -> str:
    """All digits: a budget that differs in the last one is another configuration."""
    return str(int(limit)) if limit == int(limit) else repr(limit)
