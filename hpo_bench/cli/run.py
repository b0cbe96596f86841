"""`run`: one method on one task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli import options
from hpo_bench.cli.app import app


@app.command()
def run(
    method: Annotated[str, typer.Option("--method", "-m", help="How the weights are found (see `list`).")],
    task: options.Task,
    seed: Annotated[int, typer.Option(help="Seed of the first repetition.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds SEED, SEED+1, ….")] = 1,
    budget: Annotated[str | None, typer.Option(help="16 (trials), 5000se (step-equivalents), 600s.")] = None,
    preset: options.PresetName = "standard",
    mode: options.Mode = None,
    objectives: options.Objectives = None,
    plant: options.Plant = None,
    retrains: Annotated[int | None, typer.Option(min=0, help="Fresh seeds to retrain with.")] = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    workers: options.Workers = 1,
    ray_address: Annotated[str | None, typer.Option(help="`auto` or an address of a Ray cluster.")] = None,
    solver: Annotated[str | None, typer.Option(help="Inverse-Hessian solver of tapweight.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="Method option: name=value.")] = None,
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
    out: options.Out = Path("runs"),
    as_json: options.Json = False,
) -> None:
    """Search for weights with one method on one task, retrain with them, test once per fresh seed."""
    from hpo_bench.config import configure
    from hpo_bench.display import Display
    from hpo_bench.runner import Observer, load_task
    from hpo_bench.runner import run as do_run

    options.use_data_dir(data_dir)
    config = configure(
        method,
        task,
        out=out,
        seed=seed,
        preset=preset,
        budget=budget,
        retrains=retrains,
        protocol=options.pairs(setting) | options.given(mode=mode, precision=precision),
        method_options=options.pairs(option)
        | options.given(solver=solver, workers=workers if workers > 1 else None, ray_address=ray_address),
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
