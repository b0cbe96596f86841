"""What a study's file says, checked: every problem is named with its line before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hpo_bench import registry
from hpo_bench.core.budget import Budget
from hpo_bench.core.protocol import Protocol
from hpo_bench.errors import UserError, nearest, one_line, unknown_name
from hpo_bench.run.config import make_method, variant
from hpo_bench.run.presets import preset as find_preset
from hpo_bench.study.marks import Document, Problem, read_yaml

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # it becomes a folder's name
MOST_SEEDS = 10_000
_LISTS = ("objectives", "plant", "label")  # task options that are lists; a single name may stand alone


def _mapping(key: str) -> BeforeValidator:
    """`bace` means `{task: bace}`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _as_text(value: Any) -> Any:
    """A budget of 16 is written without quotes; true is no budget."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
_Count = Annotated[int, Field(ge=1, le=MOST_SEEDS, strict=True)]
_Text = Annotated[str, BeforeValidator(_as_text)]
_Label = Annotated[str, Field(pattern=_NAME)]
_Options = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Resources(_Part):
    """What a run asks Ray for; nothing that is not said is 1 CPU, or as many as its method has workers."""

    cpus: Annotated[int, Field(ge=1, strict=True)] | None = None
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None  # below 1: several runs share one
    memory_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def under(self, closer: Resources) -> Resources:
        """These, where `closer` says nothing."""
        return Resources(**{**self.model_dump(), **closer.model_dump(exclude_none=True)})


class TaskEntry(_Part):
    """A task; a label tells two variants of one task apart."""

    task: str
    label: _Label | None = None
    options: _Options = {}
    protocol: _Options = {}
    resources: Resources = Resources()


class MethodEntry(_Part):
    """A method; a label tells two variants of one method apart."""

    method: str
    label: _Label | None = None
    options: _Options = {}
    resources: Resources = Resources()


class Study(_Part):
    """A study's file; docs/studies.md explains the keys."""

    name: Annotated[str, Field(pattern=_NAME)]
    description: str = ""
    tasks: Annotated[list[Annotated[TaskEntry, _mapping("task")]], Field(min_length=1)]
    methods: Annotated[list[Annotated[MethodEntry, _mapping("method")]], Field(min_length=1)]
    seeds: _Count | Annotated[list[_Seed], Field(min_length=1, max_length=MOST_SEEDS)] = 1
    preset: str = "standard"
    budget: _Text | None = None
    retrains: _Seed | None = None
    protocol: _Options = {}
    task_options: _Options = {}
    device: str = "auto"
    resources: Resources = Resources()

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def options_of(self, entry: TaskEntry) -> dict[str, Any]:
        """A task's own options over those of all tasks."""
        options = self.task_options | entry.options
        return {key: [value] if key in _LISTS and isinstance(value, str) else value for key, value in options.items()}


def read_study(file: Path) -> Study:
    """Read and check a study.

    Raises:
        UserError: what is wrong with it, all of it, with lines.
    """
    document = read_yaml(file)
    if not isinstance(document.values, dict):
        raise document.error([Problem((), "a study is a mapping with name, tasks and methods")])
    try:
        study = Study.model_validate(document.values)
    except ValidationError as error:
        raise document.error([_readable(one, document) for one in error.errors()]) from error
    problems = [*_names(study), *_twice(study)]
    if problems:
        raise document.error(problems)
    return study


def _readable(error: Any, document: Document) -> Problem:
    """A pydantic error as a problem; parts of its location that are not in the file (union branches) are left out."""
    path: tuple[str | int, ...] = ()
    for part in error["loc"]:
        if (*path, part) in document.lines or error["type"] == "missing":
            path = (*path, part)
    if error["type"] != "extra_forbidden":
        given = "" if error["type"] == "missing" else f"; you gave {error['input']!r}"
        return Problem(path, error["msg"] + given)
    parts: dict[str | int, type[_Part]] = {"tasks": TaskEntry, "methods": MethodEntry}
    known = list((Study if len(path) == 1 else parts[path[0]]).model_fields)
    close = nearest(str(path[-1]), known, 1)
    meant = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
    return Problem(path, f"There is no such key. {meant}")


def _names(study: Study) -> list[Problem]:
    """Names and values that do not exist, by asking those who know."""
    problems: list[Problem] = []

    def ask(path: tuple[str | int, ...], question: Any, *words: Any) -> Any:
        try:
            return question(*words)
        except UserError as error:
            problems.append(Problem(path, one_line(error)))
            return None

    def one_of(name: str, known: list[str]) -> None:
        if name not in known:
            raise unknown_name("task", name, known)

    sizes = ask(("preset",), find_preset, study.preset)
    if study.budget is not None:
        ask(("budget",), Budget.parse, study.budget)
    base = sizes.protocol if sizes else {}
    ask(("protocol", *_blamed(study.protocol)), Protocol.parsed, base | study.protocol)
    known = registry.names(registry.TASKS)
    for index, task in enumerate(study.tasks):
        ask(("tasks", index, "task"), one_of, task.task, known)
        if task.protocol:
            ask(("tasks", index, "protocol"), Protocol.parsed, base | task.protocol)
    for index, method in enumerate(study.methods):
        made = ask(("methods", index, "method"), registry.load, registry.METHODS, method.method)
        if not made or _goes_together(method):
            continue
        before = len(problems)
        for key, value in method.options.items():  # one by one for their lines
            ask(("methods", index, "options", key), make_method, method.method, {key: value})
        if len(problems) == before:
            ask(("methods", index, "options"), make_method, method.method, method.options)
    return problems


def _goes_together(method: MethodEntry) -> bool:
    """Are a method's options right? Some are so only beside another one."""
    try:
        make_method(method.method, method.options)
    except UserError:
        return False
    return True


def _blamed(settings: dict[str, Any]) -> tuple[str, ...]:
    """The first setting that alone is refused."""
    for key, value in settings.items():
        try:
            Protocol.parsed({key: value})
        except UserError:
            return (key,)
    return ()


def _twice(study: Study) -> list[Problem]:
    """Two variants that would share a run folder, and seeds that are there twice."""
    problems: list[Problem] = []
    folders: dict[str, list[tuple[str, str | None]]] = {
        "tasks": [(one.task, one.label) for one in study.tasks],
        "methods": [(one.method, one.label) for one in study.methods],
    }
    for kind, entries in folders.items():
        for index, (name, label) in enumerate(entries):
            if (name, label) in entries[:index]:
                told = variant(name, label or "")
                problems.append(Problem((kind, index), f"{told} is there twice; give each variant a label of its own"))
    if len(set(study.seed_list)) < len(study.seed_list):
        problems.append(Problem(("seeds",), "a seed is there twice"))
    return problems
