"""`landscape`: does weighting matter on a task, measured on purpose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, given, names, pairs, use_data_dir


@app.command()
def landscape(
    task: Annotated[str, typer.Option("--task", "-t", help="What is trained on (see `list`).")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that every weighting is trained with.")] = 3,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    preset: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard",
    mode: Annotated[str | None, typer.Option(help="Adaptation: full (fine-tuning) or probe (linear head).")] = None,
    objectives: Annotated[str | None, typer.Option(help="Subset, e.g. atom,contrast.")] = None,
    plant: Annotated[str | None, typer.Option(help="Extra objectives that are off by default, e.g. noise.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16 (training only).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials side by side, through Ray.")] = 1,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Protocol setting: name=value.")] = None,
    data_dir: DataDir = None,
    base: Annotated[Path | None, typer.Option(help="Base checkpoint (default: the one that is shipped).")] = None,
    split: Annotated[str | None, typer.Option(help="scaffold, balanced-scaffold, random, or a column.")] = None,
    path: Annotated[Path | None, typer.Option(help="Task csv: the file.")] = None,
    smiles: Annotated[str | None, typer.Option(help="Task csv: the SMILES column.")] = None,
    label: Annotated[str | None, typer.Option(help="Task csv: label column, or several joined by commas.")] = None,
    kind: Annotated[str | None, typer.Option(help="Task csv: classification or regression.")] = None,
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
        task_options=given(
            objectives=names(objectives),
            plant=names(plant),
            base=str(base) if base else None,
            split=split,
            path=str(path) if path else None,
            smiles=smiles,
            label=names(label),
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
