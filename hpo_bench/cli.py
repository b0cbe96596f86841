"""The command line. Thin: it turns words into a configuration and calls the packages, which it imports when needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Objective weights for continued pretraining: methods compared on one training core under one bill.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets: what is known, what is here, fetch it, check it.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with data files, looked in first (or HPO_BENCH_DATA).")]
Out = Annotated[Path, typer.Option(help="Folder of the run records.")]


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
    data_dir: DataDir = None,
    base: Annotated[Path | None, typer.Option(help="Base checkpoint (default: the one that is shipped).")] = None,
    split: Annotated[str | None, typer.Option(help="scaffold, balanced-scaffold, random, or a column.")] = None,
    path: Annotated[Path | None, typer.Option(help="Task csv: the file.")] = None,
    smiles: Annotated[str | None, typer.Option(help="Task csv: the SMILES column.")] = None,
    label: Annotated[str | None, typer.Option(help="Task csv: label column, or several joined by commas.")] = None,
    kind: Annotated[str | None, typer.Option(help="Task csv: classification or regression.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Search for weights with one method on one task, retrain with them, test once per fresh seed."""
    from hpo_bench.core.budget import Budget
    from hpo_bench.core.protocol import Protocol
    from hpo_bench.display import Display
    from hpo_bench.presets import preset as find_preset
    from hpo_bench.runner import Observer, RunConfig, load_task, make_method
    from hpo_bench.runner import run as do_run

    _use_data_dir(data_dir)
    sizes = find_preset(preset)
    settings = sizes.protocol | _pairs(setting) | _given(mode=mode, precision=precision)
    method_options = _pairs(option) | _given(
        solver=solver, workers=workers if workers > 1 else None, ray_address=ray_address
    )
    made = make_method(method, method_options)  # a wrong option is told before anything is loaded
    method_options = {name: getattr(made, name) for name in method_options}  # read, so that 0.10 is 0.1
    task_options = _given(
        objectives=_names(objectives),
        plant=_names(plant),
        base=str(base) if base else None,
        preset=preset if preset == "paper" else None,
        split=split,
        path=str(path) if path else None,
        smiles=smiles,
        label=_names(label),
        kind=kind,
    )
    config = RunConfig(
        method=method,
        task=task,
        seed=seed,
        out=out,
        protocol=Protocol.parsed(settings),
        budget=Budget.parse(budget or sizes.budget),
        retrains=sizes.retrains if retrains is None else retrains,
        preset=preset,
        device=device,
        method_options=method_options,
        task_options=task_options,
    )
    records = []
    try:
        with Display(repeats) as display:
            loaded = load_task(task, task_options, device)
            for repeat in range(repeats):
                observer = Observer() if as_json else display
                records.append(do_run(config.repetition(seed + repeat), observer, loaded).content)
    except KeyboardInterrupt as stop:  # typer would end without a word
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from stop
    if as_json:
        print(json.dumps(records, indent=1))


@app.command()
def compare(
    path: Annotated[Path, typer.Argument(help="Folder of the run records.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder for figures and tables.")] = Path("analysis"),
    reference: Annotated[str, typer.Option(help="Method that the others are compared with.")] = "equal",
    as_json: Json = False,
) -> None:
    """One table of all finished runs, with intervals and bills; figures and tables go into OUT."""
    from hpo_bench.compare import compare as do_compare

    comparison = do_compare(path, out, reference=reference)
    if as_json:
        print(comparison.to_json())
    else:
        from rich.console import Console

        Console().print(comparison)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Methods, tasks, presets, objectives and solvers."""
    from hpo_bench.listing import listing, show_listing

    found = listing()
    print(json.dumps(found, indent=1)) if as_json else show_listing(found)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="A run folder, e.g. runs/bace/tapweight/seed-0.")],
    as_json: Json = False,
) -> None:
    """One run: status, weights, scores, bill, and how to do it again."""
    from hpo_bench.listing import read_run, show_run

    content = read_run(run)
    print(json.dumps(content, indent=1)) if as_json else show_run(content, run)


@app.command("pretrain-base")
def pretrain_base(
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors).")],
    molecules: Annotated[int, typer.Option(min=1, help="MOSES molecules to train on.")] = 100_000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 10,
    layers: Annotated[int, typer.Option(min=1, help="GIN layers (Hu et al. 2020: 5).")] = 3,
    width: Annotated[int, typer.Option(min=1, help="GIN width (Hu et al. 2020: 300).")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Molecules a step.")] = 256,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Pretrain an encoder and the objective heads on unlabelled molecules with equal weights."""
    from hpo_bench.pretrain_base import pretrain_base as make_base

    _use_data_dir(data_dir)
    report = make_base(
        out,
        molecules=molecules,
        epochs=epochs,
        encoder={"layers": layers, "width": width},
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
    )
    print(json.dumps(report, indent=1) if as_json else f"wrote {out}\nlosses: {report['losses']}")


@data_app.command("list")
def data_list(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Every known data set: is it here, and where would it come from?"""
    from hpo_bench.data.manage import list_sources

    _print_rows("data sets", [vars(row) for row in list_sources(data_dir)], as_json)


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="Data sets, or `all`.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Bring data sets into the cache, checked by SHA-256."""
    from hpo_bench.data.manage import fetch, list_sources

    wanted = [row.name for row in list_sources(data_dir)] if "all" in names else names
    found = fetch(wanted, data_dir, lambda line: print(line, file=sys.stderr))
    _print_rows("fetched", [vars(located) for located in found], as_json)


@data_app.command("verify")
def data_verify(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check every file that is here against its SHA-256; exit code 1 if one is corrupt."""
    from hpo_bench.data.manage import verify

    rows = verify(data_dir=data_dir)
    _print_rows("files", [vars(row) for row in rows], as_json)
    if any(row.status == "corrupt" for row in rows):
        raise typer.Exit(1)


def _use_data_dir(folder: Path | None) -> None:
    """Through the environment, so that worker processes see it and no record holds a machine's path."""
    if folder is not None:
        os.environ["HPO_BENCH_DATA"] = str(folder.resolve())


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _names(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _pairs(texts: list[str] | None) -> dict[str, Any]:
    from hpo_bench.errors import UserError

    pairs: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"cannot read {text!r}", "write name=value")
        pairs[key.strip()] = value.strip()
    return pairs


def _print_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
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
