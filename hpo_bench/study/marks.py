"""YAML with line numbers: the values of a file, and the line of each of them by its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpo_bench.errors import UserError

KeyPath = tuple[str | int, ...]  # keys and indices from the top: ("methods", 2, "options", "solver")

MOST = 100_000  # values in a file: a few lines of aliases to aliases stand for billions


@dataclass(frozen=True)
class Problem:
    """Something wrong in the file, at a path."""

    path: KeyPath
    message: str


@dataclass
class Document:
    """A YAML file's values and where they stand."""

    file: Path
    values: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """The line of a path; of what holds it, if it is not there (a key that is missing)."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def tell(self, problem: Problem) -> str:
        """A problem with its place: `line 7, methods[2].options.solver: …`."""
        return f"line {self.line(problem.path)}, {dotted(problem.path) or 'the file'}: {problem.message}"

    def error(self, problems: list[Problem]) -> UserError:
        """All problems in the order of their lines, as one error."""
        told = [self.tell(problem) for problem in sorted(problems, key=lambda one: self.line(one.path))]
        if len(told) == 1:
            return UserError(f"{self.file}, {told[0]}", "docs/studies.md shows the whole form")
        listed = "\n".join(f"  {one}" for one in told)
        return UserError(f"{self.file} has {len(told)} problems:\n{listed}", "docs/studies.md shows the whole form")


def read_yaml(file: Path) -> Document:
    """Read a file.

    Raises:
        UserError: no such file, not YAML, or a key that is there twice (YAML itself would take the last).
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        named = "name a YAML file, such as experiments/bace.yaml"
        remedy = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else named
        raise UserError(f"cannot read {file}: {reason}", remedy) from error
    twice: list[Problem] = []
    lines: dict[KeyPath, int] = {(): 1}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _mark(node, (), lines, twice)
        document = Document(file, yaml.safe_load(text), lines)
    except RecursionError as error:
        raise UserError(f"{file} refers to itself, or is nested too deeply", "write it out flat") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or error
        raise UserError(f"{file}{where}: not YAML: {what}", "check the indentation and the quotes there") from error
    if twice:
        raise document.error(twice)
    return document


def dotted(path: KeyPath) -> str:
    """A path as text: `methods[2].options.solver`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _mark(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], twice: list[Problem]) -> None:
    if len(lines) > MOST:
        problem = f"more than {MOST} values when what aliases stand for is written out"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            if inner in lines:
                twice.append(Problem(inner, f"the key is there twice, first in line {lines[inner]}"))
            lines[inner] = key.start_mark.line + 1
            _mark(value, inner, lines, twice)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _mark(value, (*path, index), lines, twice)
