"""From a study to its runs, and how far each of them is: the run folders answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpo_bench.config import RunConfig, configure, variant
from hpo_bench.errors import UserError
from hpo_bench.study.spec import Study

State = Literal["new", "begun", "done"]
FINISHED = ("done", "over-budget")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study; `words` are the arguments of `configure`, as JSON values."""

    words: dict[str, Any]
    config: RunConfig

    @property
    def task(self) -> str:
        return variant(self.config.task, self.config.task_label)

    @property
    def method(self) -> str:
        return variant(self.config.method, self.config.method_label)

    @property
    def title(self) -> str:
        return f"{self.task} {self.method} seed {self.config.seed}"

    def record(self) -> dict[str, Any] | None:
        """run.json of this run, None if it has not begun.

        Raises:
            UserError: it cannot be read, or is of another configuration.
        """
        path = self.config.folder / "run.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            config = content["config"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is not readable: {error}", "move it away, or give another --out") from error
        asked = json.loads(json.dumps(self.config.to_json()))  # so that tuples compare as lists
        differing = [key for key in asked if config.get(key) != asked[key]]
        if differing:
            what = "; ".join(f"{key} is {config.get(key)!r} there, {asked[key]!r} here" for key in differing)
            raise UserError(f"{self.config.folder} holds a run of another configuration: {what}")
        return content

    def state(self) -> State:
        """How far it is."""
        record = self.record()
        return "new" if record is None else "done" if record.get("status") in FINISHED else "begun"


def expand(study: Study, out: Path) -> list[PlannedRun]:
    """All runs, seed by seed: after the first round there is one run of everything to compare."""
    runs = []
    for seed in study.seed_list:
        for task in study.tasks:
            for method in study.methods:
                words = {
                    "method": method.method,
                    "task": task.task,
                    "out": str(out),
                    "seed": seed,
                    "preset": study.preset,
                    "budget": study.budget,
                    "retrains": study.retrains,
                    "protocol": study.protocol | task.protocol,
                    "method_options": method.options,
                    "task_options": study.options_of(task),
                    "device": study.device,
                    "task_label": task.label or "",
                    "method_label": method.label or "",
                }
                runs.append(PlannedRun(words, from_words(words)))
    return runs


def from_words(words: dict[str, Any]) -> RunConfig:
    """The configuration that `PlannedRun.words` stand for."""
    return configure(**{**words, "out": Path(words["out"])})
