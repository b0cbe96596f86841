"""The configuration of a run: from what a person says, on a command line or in a study, to all that determines it."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_bench import registry
from hpo_bench.core.budget import Budget
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.settings import read_settings, read_value, without_place
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.run.presets import preset as find_preset
from hpo_bench.search.base import ObjectiveWeightSearch
from hpo_bench.tasks.presets import preset_of

RESERVED = ("device",)  # a loader is told it by the run's configuration


@dataclass(frozen=True)
class RunConfig:
    """All that determines a run's result, and where it goes.

    Labels name variants of a task or a method in the folder and determine nothing: `tapweight@cg`. `searcher` is the
    method, made once from its name and options.

    Raises:
        UserError: an unknown method or option, or a value that the option cannot take.
    """

    method: str
    task: str
    seed: int
    out: Path
    protocol: Protocol
    budget: Budget
    retrains: int
    preset: str = "standard"
    device: str = "auto"
    method_options: dict[str, Any] = field(default_factory=dict)
    task_options: dict[str, Any] = field(default_factory=dict)
    task_label: str = ""
    method_label: str = ""
    preset_protocol: dict[str, Any] = field(default_factory=dict)  # what the preset alone means for this task
    searcher: ObjectiveWeightSearch = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        made = make_method(self.method, self.method_options)
        read = {name: getattr(made, name) for name in self.method_options}  # so that 0.10 is 0.1
        object.__setattr__(self, "searcher", made)
        object.__setattr__(self, "method_options", read)

    @property
    def folder(self) -> Path:
        task, method = variant(self.task, self.task_label), variant(self.method, self.method_label)
        return self.out / task / method / f"seed-{self.seed}"

    def repetition(self, seed: int) -> RunConfig:
        """The same with another seed."""
        return dataclasses.replace(self, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """The `config` part of run.json; where a run is done is no part of it."""
        return {
            "preset": self.preset,
            "method_options": without_place(type(self.searcher), self.method_options),
            "task_options": self.task_options,
            "protocol": self.protocol.to_json(),
            "budget": self.budget.to_json(),
            "retrains": self.retrains,
            "device": self.device,
        }


def configure(
    method: str,
    task: str,
    *,
    out: Path,
    seed: int = 0,
    preset: str = "standard",
    budget: str | None = None,
    retrains: int | None = None,
    protocol: dict[str, Any] | None = None,
    method_options: dict[str, Any] | None = None,
    task_options: dict[str, Any] | None = None,
    device: str = "auto",
    task_label: str = "",
    method_label: str = "",
) -> RunConfig:
    """A run's configuration; what is not said comes from the preset. Values may be text, as on a command line.

    A task's loader may bring presets of its own (`hpo_bench.tasks.presets`), since a rate that suits a graph network
    ruins a language model. They change the protocol, and options of the task that were not given.

    Raises:
        UserError: an unknown name, or a value that does not fit.
    """
    sizes = find_preset(preset)
    if task not in registry.names(registry.TASKS) and Path(task).is_file():
        path = shlex.quote(task)
        remedy = f"write --task csv --path {path} for molecules, --task text --path {path} for texts"
        raise UserError(f"--task {task} is a file, and a task's name is asked for", remedy)
    loader = registry.load(registry.TASKS, task)
    own = preset_of(loader, preset)
    usual = {**sizes.protocol, **own.protocol}
    given = _task_options(loader, task, task_options or {})
    if own.check is not None:
        own.check(given)
    return RunConfig(
        method=method,
        task=task,
        seed=seed,
        out=out,
        protocol=Protocol.parsed(usual | (protocol or {})),
        budget=Budget.parse(sizes.budget if budget is None else budget),
        retrains=sizes.retrains if retrains is None else retrains,
        preset=preset,
        device=device,
        method_options=method_options or {},
        task_options={**own.options, **given},
        task_label=task_label,
        method_label=method_label,
        preset_protocol=Protocol.parsed(usual).to_json(),
    )


def _task_options(loader: Callable[..., Any], task: str, given: dict[str, Any]) -> dict[str, Any]:
    """Options of a task, as far as the parameters of its loader say what they are; the loader knows the rest.

    Raises:
        UserError: an option that the loader does not have, or a number that is none.
    """
    try:
        parameters = inspect.signature(loader, eval_str=True).parameters
    except NameError:  # annotations for type checkers alone: the loader reads its options by itself
        parameters = inspect.signature(loader).parameters
    if reserved := [name for name in RESERVED if name in given]:
        name = reserved[0]
        raise UserError(f"{name} is no option of a task", f"write --{name}, or `{name}` at the top of a study")
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    read = {}
    for name, value in given.items():
        if name not in parameters and not open_ended:
            raise unknown_name(f"option of the task {task}", name, [one for one in parameters if one not in RESERVED])
        hint = parameters[name].annotation if name in parameters else Any
        read[name] = read_value(hint, value, f"task option {name}")
    return read


def variant(name: str, label: str) -> str:
    """A name with its label, if it has one."""
    return f"{name}@{label}" if label else name


def make_method(name: str, options: dict[str, Any]) -> ObjectiveWeightSearch:
    """A method with its options, given as text or values.

    Raises:
        UserError: an unknown method or option, or a value that the option cannot take.
    """
    return read_settings(registry.load(registry.METHODS, name, ObjectiveWeightSearch), options, f"option of {name}")
