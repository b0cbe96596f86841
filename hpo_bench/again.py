"""The command that makes a recorded run once more."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from hpo_bench import task_options
from hpo_bench.core.protocol import Protocol
from hpo_bench.presets import PRESETS

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Protocol)}
_BUDGET_UNITS = {"trials": "t", "step_equivalents": "se", "seconds": "s"}


def again(content: dict[str, Any], folder: Path | None = None) -> str:
    """The command that makes a run once more, `content` being its run.json.

    With the run's `folder` the command names the same --out, and so goes on with that run.
    """
    config = content["config"]
    words = ["hpo-bench", "run", "--method", content["method"], "--task", content["task"]]
    words += ["--seed", str(content["seed"]), "--preset", config["preset"]]
    budget = [(config["budget"].get(key), unit) for key, unit in _BUDGET_UNITS.items()]
    words += ["--budget", ",".join(f"{limit:g}{unit}" for limit, unit in budget if limit is not None)]
    words += ["--retrains", str(config["retrains"]), "--device", config["device"]]
    preset = PRESETS[config["preset"]].protocol if config["preset"] in PRESETS else {}
    whole = "preset" in config["task_options"]  # the task may give the preset a meaning of its own: all is said
    for key, value in config["protocol"].items():
        if whole or value != preset.get(key, _DEFAULTS.get(key)):
            words += ["--set", f"{key}={value}"]
    for key, value in config["method_options"].items():
        words += ["-o", f"{key}={value}"]
    words += task_options.words(config["task_options"])
    if folder is not None:
        run_folder = folder if folder.is_dir() else folder.parent
        if len(run_folder.parts) > 3:
            words += ["--out", str(run_folder.parents[2])]
    return shlex.join(words)
