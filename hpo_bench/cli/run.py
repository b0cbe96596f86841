"""`run`: one method on one task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, Out, given, names, pairs, use_data_dir


@app.command()
def run(
    method: Annotated[str, typer.Option("--method", "-m", help="How the weights are found (see `list`).")],
    task: Annotated[str, typer.Option("--task", "-t", help="What is trained on (see `list`).")],
    seed: Annotated[int, typer.Option(help="Seed of the first repetition.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds SEED, SEED+1, ….")] = 1,
    budget: Annotated[str | None, typer.Option(help="16 (trials), 5000se (step-equivalents), 600s.")] = None,
    preset: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard",
    mode: Annotated[str | None, typer.Option(help="Adaptation: full (fine-tuning) or probe (linear head).")] = None,
    objectives: Annotated[str | None, typer.Option(help="Subset, e.g. atom,contrast.")] = None,
    plant: Annotated[str | None, typer.Option(help="Extra objectives that are off by default, e.g. noise.")] = None,
    retrains: Annotated[int | None, typer.Option(min=0, help="Fresh seeds to retrain with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16 (training only).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials side by side, through Ray.")] = 1,
    ray_address: Annotated[str | None, typer.Option(help="`auto` or an address of a Ray cluster.")] = None,
    solver: Annotated[str | None, typer.Option(help="Inverse-Hessian solver of tapweight.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="Method option: name=value.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Protocol setting: name=value.")] = None,
    task_option: Annotated[list[str] | None, typer.Option(help="Further option of the task: name=value.")] = None,
    data_dir: DataDir = None,
    base: Annotated[Path | None, typer.Option(help="Base checkpoint (default: the one that is shipped).")] = None,
    model: Annotated[str | None, typer.Option(help="Text: minilm (embedded), a folder, or a name on the hub.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="Text: file of unlabelled texts, one a line.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Molecules: gin (graphs; default) or imagemol (images).")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="ImageMol's published weights, for imagemol.")] = None,
    split: Annotated[str | None, typer.Option(help="scaffold, balanced-scaffold, random, or a column.")] = None,
    path: Annotated[Path | None, typer.Option(help="Task csv or text: the file.")] = None,
    smiles: Annotated[str | None, typer.Option(help="Task csv: the SMILES column.")] = None,
    label: Annotated[str | None, typer.Option(help="Task csv or text: label column(s), joined by commas.")] = None,
    kind: Annotated[str | None, typer.Option(help="Task csv or text: classification or regression.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Search for weights with one method on one task, retrain with them, test once per fresh seed."""
    from hpo_bench import task_options
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
        task_options=given(
            objectives=names(objectives),
            plant=names(plant),
            base=str(base) if base else None,
            model=model,
            corpus=str(corpus) if corpus else None,
            encoder=encoder,
            checkpoint=str(checkpoint) if checkpoint else None,
            split=split,
            path=str(path) if path else None,
            smiles=smiles,
            label=names(label),
            kind=kind,
        )
        | task_options.read(pairs(task_option)),
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
