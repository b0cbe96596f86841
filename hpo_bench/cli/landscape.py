"""`landscape`: does weighting matter on a task, measured on purpose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import (
    Base,
    Checkpoint,
    Corpus,
    DataDir,
    Device,
    Encoder,
    File,
    Json,
    Kind,
    Label,
    Mode,
    Model,
    Objectives,
    Plant,
    Precision,
    PresetName,
    Settings,
    Smiles,
    Split,
    Task,
    TaskOptions,
    Workers,
    given,
    pairs,
    task_options,
    use_data_dir,
)


@app.command()
def landscape(
    task: Task,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that every weighting is trained with.")] = 3,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    preset: PresetName = "standard",
    mode: Mode = None,
    objectives: Objectives = None,
    plant: Plant = None,
    device: Device = "auto",
    precision: Precision = None,
    workers: Workers = 1,
    setting: Settings = None,
    task_option: TaskOptions = None,
    data_dir: DataDir = None,
    base: Base = None,
    model: Model = None,
    corpus: Corpus = None,
    encoder: Encoder = None,
    checkpoint: Checkpoint = None,
    split: Split = None,
    path: File = None,
    smiles: Smiles = None,
    label: Label = None,
    kind: Kind = None,
    out: Annotated[Path, typer.Option(help="Folder for records, table and figure.")] = Path("landscape"),
    as_json: Json = False,
) -> None:
    """Does weighting matter? Valid score at vertices, centre and edge midpoints of the simplex × paired seeds."""
    from hpo_bench.display import Display
    from hpo_bench.landscape import measure, plan, to_json, write
    from hpo_bench.runner import Observer, load_task

    use_data_dir(data_dir)
    config = plan(
        task,
        out=out,
        seed=seed,
        preset=preset,
        protocol=pairs(setting) | given(mode=mode, precision=precision),
        method_options=given(workers=workers if workers > 1 else None),
        task_options=task_options(
            objectives=objectives,
            plant=plant,
            label=label,
            task_option=task_option,
            base=base,
            model=model,
            corpus=corpus,
            encoder=encoder,
            checkpoint=checkpoint,
            split=split,
            path=path,
            smiles=smiles,
            kind=kind,
        ),
        device=device,
    )
    try:
        with Display(seeds) as display:
            loaded = load_task(task, config.task_options, device)
            found = measure(config, seeds, loaded, Observer() if as_json else display)
    except KeyboardInterrupt as stop:  # typer would end without a word
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from stop
    files = write(found, out / task)
    if as_json:
        print(to_json(found))
        return
    from rich.console import Console

    from hpo_bench.compare.simplex_table import simplex_table

    console = Console()
    console.print(found.sentence, style="bold", highlight=False)
    console.print(simplex_table(found))
    console.print(f"written: {', '.join(str(file) for file in files)}", highlight=False, markup=False, soft_wrap=True)
