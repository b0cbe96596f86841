"""What stands in the records of a run: one schema for everybody who writes or reads them. Nothing here needs torch.

    run.json          RunRecord, one object: configuration, status, result
    trials.jsonl      TrialLine, one a finished trial, numbered 0, 1, 2, …
    trajectory.jsonl  TrajectoryLine, one a change of weights
    tests.jsonl       TestLine, one a retraining
    bill.json         Bill, what the run has cost so far

Values come back as they stand in the file, brought to the newest layout: keys that are not named here are kept.
Older layouts are in `layouts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hpo_bench.core.cost import Cost
from hpo_bench.errors import UserError
from hpo_bench.records.files import MOVE_AWAY, read_lines, read_object
from hpo_bench.records.layouts import SCHEMA as SCHEMA
from hpo_bench.records.layouts import newest

Status = Literal["running", "done", "failed", "diverged", "over-budget"]
TrialState = Literal["done", "pruned", "diverged"]


_Name = Annotated[str, Field(min_length=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Weights = Annotated[list[_Finite], Field(min_length=1)]
Piece = Annotated[tuple[_Count, _Weights], Field(strict=False)]  # JSON has lists where Python has tuples
_NEARLY = 1e-4  # weights are written in full, and older ones were sums of float32
_Score = float | None  # NaN where a metric is not defined


class Part(BaseModel):
    """What every part of a record has: types are not bent to fit, and keys that nobody named are kept."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class Bill(Part):
    """The fields of `Cost`; one that is missing is 0."""

    step_equivalents: _Amount = 0
    flops: _Amount = 0
    seconds_pretraining: _Amount = 0
    seconds_adaptation: _Amount = 0
    seconds_hypergradient: _Amount = 0
    seconds_evaluation: _Amount = 0
    seconds_orchestration: _Finite = 0  # of a worker it can be below zero: see `bill_worker`
    peak_memory_bytes: _Amount = 0


class TrialLine(Part):
    """A trial that ended; `spent` is the bill of the whole run at that moment."""

    number: _Count
    state: TrialState
    weights: _Weights
    value: _Finite | None
    cost: Bill
    spent: Bill
    schedule: list[Piece] | None = None
    note: dict[str, Any] = {}

    @model_validator(mode="after")
    def _done_has_a_value(self) -> TrialLine:
        if self.state == "done" and self.value is None:
            raise ValueError("a trial that is done has a value")
        return self


class TrajectoryLine(Part):
    """A change of weights at a step of continued pretraining; methods write more beside it."""

    step: _Count
    weights: _Weights
    spent: Bill | None = None


class TestLine(Part):
    """A retraining and its test score, which is read once."""

    __test__ = False  # pytest takes it for a test otherwise

    index: _Count
    seed: int
    valid: _Score = None
    test: _Score = None
    cost: Bill = Bill()


class TransferLine(Part):
    """One training of a weighting, by its place in the lattice, read on valid and on test; null where it diverged."""

    seed: int
    point: _Count
    valid: float | None
    test: float | None


class Metric(Part):
    """The score of a task."""

    name: str
    higher_is_better: bool


class Limits(Part):
    """A budget; None is no limit."""

    trials: _Amount | None = None
    step_equivalents: _Amount | None = None
    seconds: _Amount | None = None


class Config(Part):
    """What determines a run beside method, task and seed."""

    preset: str
    method_options: dict[str, Any]
    task_options: dict[str, Any]
    protocol: dict[str, Any]
    budget: Limits
    retrains: _Count
    device: str


class Searched(Part):
    """Scores of the model that a single-run search itself ended with."""

    valid: _Score = None
    test: _Score = None


class Result(Part):
    """What a run found."""

    weights: _Weights
    schedule: list[Piece] | None = None
    value: _Finite
    as_searched: Searched | None = None
    retrained: list[TestLine] = []

    @model_validator(mode="after")
    def _fits_together(self) -> Result:
        total = sum(self.weights)
        if min(self.weights) < -_NEARLY or (abs(total - 1) > _NEARLY and any(self.weights)):
            raise ValueError(f"weights are shares of 1, or all 0 where there was no pretraining; they sum to {total:g}")
        steps = [step for step, _ in self.schedule or [(0, self.weights)]]
        if steps[:1] != [0] or any(later <= step for step, later in pairwise(steps)):
            raise ValueError(f"the steps of a schedule rise from 0, not {steps[:6]}")
        if any(len(weights) != len(self.weights) for _, weights in self.schedule or []):
            raise ValueError("the schedule has another number of weights")
        indices = [line.index for line in self.retrained]
        if len(set(indices)) < len(indices):
            raise ValueError(f"a retraining is there twice: {indices}")
        return self


class Environment(Part):
    """Where one session of a run happened."""

    session: int
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str | None] = {}


class RunRecord(Part):
    """run.json.

    `content`: SHA-256 of what was learned from, by part; None where the record is older than that. `files`: SHA-256 of
    the files that options of the task name, by the option. `preset_protocol`: the protocol that the preset means for
    this task; where `config` differs from it, the difference was asked for.
    """

    record_schema: Annotated[int, Field(alias="schema")]
    status: Status
    error: str | None = None
    started: str | None = None
    ended: str | None = None
    sessions: _Count = 0
    method: _Name
    task: _Name
    seed: int
    config: Config
    objectives: list[str]
    content: dict[str, str] | None = None
    files: dict[str, str] = {}
    base_id: str | None = None
    metric: Metric | None = None
    data: dict[str, Any] = {}
    trial_cost: _Amount | None = None
    options: dict[str, Any] = {}
    preset_protocol: dict[str, Any] | None = None
    environments: list[Environment] = []
    result: Result | None = None
    cost: dict[str, Bill] | None = None

    @model_validator(mode="after")
    def _done_has_a_result(self) -> RunRecord:
        if self.status == "done":
            missing = [key for key in ("result", "metric", "objectives", "cost") if not getattr(self, key)]
            if missing:
                raise ValueError(f"it is done and lacks {', '.join(missing)}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"an objective is there twice: {', '.join(self.objectives)}")
        notices = self.data.get("notices", [])
        if not isinstance(notices, list) or not all(isinstance(one, str) for one in notices):
            raise ValueError("data.notices holds something else than sentences")
        if self.result is not None and len(self.result.weights) != len(self.objectives):
            raise ValueError(f"{len(self.result.weights)} weights for {len(self.objectives)} objectives")
        return self


def read_run(path: Path) -> dict[str, Any]:
    """run.json at `path`, or in the folder `path`, in the newest layout.

    Raises:
        UserError: there is none, it is damaged, or of a layout that this version does not know.
    """
    file = path if path.name == "run.json" and not path.is_dir() else path / "run.json"
    try:
        content = read_object(file)
    except FileNotFoundError as error:
        raise UserError(f"there is no run at {path}", "name a folder with a run.json, as `run` prints it") from error
    return check_run(content, file)


def check_run(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """The content of a run.json, brought to the newest layout and checked; `file` is named in errors.

    Raises:
        UserError: damaged, or of an unknown layout.
    """
    schema = content.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise UserError(f"{file} is not a record of hpo_bench: it names no schema", MOVE_AWAY)
    if schema > SCHEMA:
        message = f"{file} has schema {schema}; this version of hpo_bench reads schemas up to {SCHEMA}"
        raise UserError(message, "upgrade hpo_bench: pip install --upgrade hpo-bench")
    content = newest(content, schema)
    check(RunRecord, content, str(file))
    return content


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """The lines of trials.jsonl, in order of their numbers; none if there is no file.

    Raises:
        UserError: a line is damaged, there twice or missing; file and line are named.
    """
    path = folder / "trials.jsonl"
    lines = _checked_lines(path, TrialLine)
    for place, line in enumerate(lines):
        if line["number"] != place:
            what = f"trial {line['number']} stands where trial {place} belongs"
            raise UserError(f"{path}, line {place + 1}: {what}; a line is missing or there twice", MOVE_AWAY)
    return lines


def read_trajectory(folder: Path) -> list[dict[str, Any]]:
    """The lines of trajectory.jsonl; none if there is no file.

    Raises:
        UserError: a line is damaged; file and line are named.
    """
    return _checked_lines(folder / "trajectory.jsonl", TrajectoryLine)


def read_tests(folder: Path) -> list[dict[str, Any]]:
    """The lines of tests.jsonl; none if there is no file.

    Raises:
        UserError: a line is damaged, or a retraining is there twice.
    """
    path = folder / "tests.jsonl"
    lines = _checked_lines(path, TestLine)
    for place, line in enumerate(lines):
        if line["index"] in [other["index"] for other in lines[:place]]:
            raise UserError(f"{path}, line {place + 1}: retraining {line['index']} is there twice", MOVE_AWAY)
    return lines


def read_bill(path: Path) -> Cost:
    """What stands in a bill.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged.
    """
    return cost_of(read_object(path), str(path))


def cost_of(content: object, where: str) -> Cost:
    """A bill that came with something else; `where` names it in an error.

    Raises:
        UserError: it is damaged.
    """
    check(Bill, content, where)
    return Cost.from_json(content)  # type: ignore[arg-type]


def largest(bills: Sequence[Cost]) -> Cost:
    """Field by field: of several copies of one bill, which only grows, the latest."""
    return Cost(**{f.name: max((getattr(bill, f.name) for bill in bills), default=0) for f in fields(Cost)})


def check_line(kind: type[BaseModel], line: dict[str, Any], file: Path) -> dict[str, Any]:
    """A line that is about to be written.

    Raises:
        UserError: it does not fit.
    """
    check(kind, line, f"a line for {file}")
    return line


def _checked_lines(path: Path, kind: type[BaseModel]) -> list[dict[str, Any]]:
    lines = read_lines(path)
    _check(list[kind], lines, lambda place: f"{path}, line {place[0] + 1}")  # type: ignore[valid-type]
    return lines


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def check(kind: Any, value: object, where: str) -> None:
    """Does a JSON value fit a model (or a type made of models)? `where` names it in an error.

    Raises:
        UserError: it does not; what and why is said.
    """
    _check(kind, value, lambda _: where)


def _check(kind: Any, value: object, where: Callable[[tuple[Any, ...]], str]) -> None:
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = first["loc"]
        rest = place[1:] if place and isinstance(place[0], int) else place
        key = ".".join(str(part) for part in rest)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where(place)} is damaged: {f'{key}: ' if key else ''}{message}", MOVE_AWAY) from error
