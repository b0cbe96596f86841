"""`landscape`: does weighting matter on a task, measured on purpose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli import options
from hpo_bench.cli.app import app


@app.command()
def landscape(
    task: options.Task,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that every weighting is trained with.")] = 3,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    preset: options.PresetName = "standard",
    mode: options.Mode = None,
    objectives: options.Objectives = None,
    plant: options.Plant = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    workers: options.Workers = 1,
    setting: options.Settings = None,
    task_option: options.TaskOptions = None,
    data_dir: options.DataDir = None,
    base: options.Base = None,
    model: options.Model = None,
    corpus: options.Corpus = None,
    encoder: options.Encoder = None,
    checkpoint: options.Checkpoint = None,
    split: options.Split = None,
    path: options.File = None,
    smiles: options.Smiles = None,
    label: options.Label = None,
    kind: options.Kind = None,
    out: Annotated[Path, typer.Option(help="Folder for records, table and figure.")] = Path("landscape"),
    as_json: options.Json = False,
) -> None:
    """Does weighting matter? Valid score at vertices, centre and edge midpoints of the simplex × paired seeds."""
    from hpo_bench.display import Display
    from hpo_bench.landscape import measure, plan, to_json, write
    from hpo_bench.runner import Observer, load_task

    options.use_data_dir(data_dir)
    config = plan(
        task,
        out=out,
        seed=seed,
        preset=preset,
        protocol=options.pairs(setting) | options.given(mode=mode, precision=precision),
        method_options=options.given(workers=workers if workers > 1 else None),
        task_options=options.task_options(
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
