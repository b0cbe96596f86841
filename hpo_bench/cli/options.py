"""What several verbs share: option types, and how words become values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with data files, looked in first (or HPO_BENCH_DATA).")]
Out = Annotated[Path, typer.Option(help="Folder of the run records.")]

# Of a trial and of its task: the same words mean the same wherever one is trained.
Task = Annotated[str, typer.Option("--task", "-t", help="What is trained on (see `list`).")]
PresetName = Annotated[str, typer.Option(help="quick, standard or paper.")]
Mode = Annotated[str | None, typer.Option(help="Adaptation: full (fine-tuning) or probe (linear head).")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16 (training only).")]
Workers = Annotated[int, typer.Option(min=1, help="Trials side by side, through Ray.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Protocol setting: name=value.")]
Objectives = Annotated[str | None, typer.Option(help="Subset, e.g. atom,contrast.")]
Plant = Annotated[str | None, typer.Option(help="Extra objectives that are off by default, e.g. noise.")]
TaskOptions = Annotated[list[str] | None, typer.Option(help="Further option of the task: name=value.")]
Base = Annotated[Path | None, typer.Option(help="Base checkpoint (default: the one that is shipped).")]
Model = Annotated[str | None, typer.Option(help="Text: minilm (embedded), a folder, or a name on the hub.")]
Corpus = Annotated[Path | None, typer.Option(help="Text: file of unlabelled texts, one a line.")]
Encoder = Annotated[str | None, typer.Option(help="Molecules: gin (graphs; default) or imagemol (images).")]
Checkpoint = Annotated[Path | None, typer.Option(help="ImageMol's published weights, for imagemol.")]
Split = Annotated[str | None, typer.Option(help="scaffold, balanced-scaffold, random, or a column.")]
File = Annotated[Path | None, typer.Option(help="Task csv or text: the file.")]
Smiles = Annotated[str | None, typer.Option(help="Task csv: the SMILES column.")]
Label = Annotated[str | None, typer.Option(help="Task csv or text: label column(s), joined by commas.")]
Kind = Annotated[str | None, typer.Option(help="Task csv or text: classification or regression.")]


def use_data_dir(folder: Path | None) -> None:
    """Through the environment, so that worker processes see it and no record holds a machine's path."""
    if folder is not None:
        os.environ["HPO_BENCH_DATA"] = str(folder.resolve())


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {key: value for key, value in values.items() if value is not None}


def names(text: str | None) -> list[str] | None:
    """Names joined by commas."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def task_options(
    *,
    objectives: str | None,
    plant: str | None,
    label: str | None,
    task_option: list[str] | None,
    **others: str | Path | None,
) -> dict[str, Any]:
    """A task's options from their flags and from `--task-option`."""
    from hpo_bench import task_options as words

    plain = {name: str(value) for name, value in others.items() if value is not None}
    lists = given(objectives=names(objectives), plant=names(plant), label=names(label))
    return lists | plain | words.read(pairs(task_option))


def pairs(texts: list[str] | None) -> dict[str, Any]:
    """`name=value` texts.

    Raises:
        UserError: a text without an equals sign.
    """
    from hpo_bench.errors import UserError

    found: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"cannot read {text!r}", "write name=value")
        found[key.strip()] = value.strip()
    return found


def print_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    """A table of rows with the same keys, or JSON."""
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
