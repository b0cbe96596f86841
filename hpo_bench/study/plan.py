"""From a study to its runs, and how far each of them is: the run folders answer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpo_bench.records.run_folder import FINISHED, check_identity, made_way
from hpo_bench.records.schema import read_run
from hpo_bench.run.config import RunConfig, configure, variant
from hpo_bench.study.spec import Resources, Study

State = Literal["new", "begun", "done"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study; `words` are the arguments of `configure`, `resources` what it asks Ray for."""

    words: dict[str, Any]
    config: RunConfig
    resources: Resources = field(default_factory=Resources)

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
        """run.json of this run; None if it has not begun, or another configuration diverged in its place.

        Raises:
            UserError: it cannot be read, or is of another configuration.
        """
        if not os.path.lexists(self.config.folder / "run.json"):
            return None
        content = read_run(self.config.folder)
        asked = {"config": self.config.to_json()}
        if made_way(content, asked):
            return None
        check_identity(self.config.folder, content, asked)
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
                resources = study.resources.under(task.resources).under(method.resources)
                runs.append(PlannedRun(words, from_words(words), resources))
    return runs


def from_words(words: dict[str, Any]) -> RunConfig:
    """The configuration that `PlannedRun.words` stand for."""
    return configure(**{**words, "out": Path(words["out"])})
