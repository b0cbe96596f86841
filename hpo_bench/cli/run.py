"""`run`: one method on one task."""

from __future__ import annotations

import json
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
    Out,
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
def run(
    method: Annotated[str, typer.Option("--method", "-m", help="How the weights are found (see `list`).")],
    task: Task,
    seed: Annotated[int, typer.Option(help="Seed of the first repetition.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds SEED, SEED+1, ….")] = 1,
    budget: Annotated[str | None, typer.Option(help="16 (trials), 5000se (step-equivalents), 600s.")] = None,
    preset: PresetName = "standard",
    mode: Mode = None,
    objectives: Objectives = None,
    plant: Plant = None,
    retrains: Annotated[int | None, typer.Option(min=0, help="Fresh seeds to retrain with.")] = None,
    device: Device = "auto",
    precision: Precision = None,
    workers: Workers = 1,
    ray_address: Annotated[str | None, typer.Option(help="`auto` or an address of a Ray cluster.")] = None,
    solver: Annotated[str | None, typer.Option(help="Inverse-Hessian solver of tapweight.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="Method option: name=value.")] = None,
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
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Search for weights with one method on one task, retrain with them, test once per fresh seed."""
    from hpo_bench.config import configure
    from hpo_bench.display import Display
    from hpo_bench.runner import Observer, load_task
    from hpo_bench.runner import run as do_run

    use_data_dir(data_dir)
    config = configure(
        method,
        task,
        out=out,
        seed=seed,
        preset=preset,
        budget=budget,
        retrains=retrains,
        protocol=pairs(setting) | given(mode=mode, precision=precision),
        method_options=pairs(option)
        | given(solver=solver, workers=workers if workers > 1 else None, ray_address=ray_address),
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
    records = []
    try:
        with Display(repeats) as display:
            loaded = load_task(task, config.task_options, device)
            for repeat in range(repeats):
                observer = Observer() if as_json else display
                records.append(do_run(config.repetition(seed + repeat), observer, loaded).content)
    except KeyboardInterrupt as stop:  # typer would end without a word
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from stop
    if as_json:
        print(json.dumps(records, indent=1))
