"""`run`: one method on one task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import Json, Out, Task, at_least, given, pairs, refuse, together
from hpo_bench.cli.stops import interruptible
from hpo_bench.cli.trial import TrialFlags, takes_trial_flags


@app.command()
@takes_trial_flags()
def run(
    method: Annotated[str, typer.Option("--method", "-m", help="How the weights are found (see `list`).")],
    task: Task,
    flags: TrialFlags,
    seed: Annotated[int, typer.Option(parser=at_least(0), help="Seed of the first repetition.")] = 0,
    repeats: Annotated[int, typer.Option(parser=at_least(1), help="Repetitions, with seeds SEED, SEED+1, ….")] = 1,
    budget: Annotated[str | None, typer.Option(help="16 (trials), 5000se (step-equivalents), 600s.")] = None,
    retrains: Annotated[int | None, typer.Option(parser=at_least(0), help="Fresh seeds to retrain with.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="`auto` or an address of a Ray cluster.")] = None,
    ray_timeout: Annotated[str | None, typer.Option(help="Seconds that the cluster may take to answer (60).")] = None,
    solver: Annotated[str | None, typer.Option(help="Inverse-Hessian solver of implicit.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="Method option: name=value.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Search for weights with one method on one task, retrain with them, test once per fresh seed."""
    from hpo_bench.cli.display import Display, print_notices
    from hpo_bench.records.run_folder import check_writable, is_finished
    from hpo_bench.run.config import configure
    from hpo_bench.run.runner import Observer, load_task, vouched
    from hpo_bench.run.runner import run as do_run

    own = given(solver=solver, ray_address=ray_address, ray_timeout=ray_timeout) | flags.method_options()
    options = together(pairs(option), own)
    if not options.get("ray_address"):
        refuse(given(ray_timeout=ray_timeout), "without --ray-address")
    config = configure(
        method,
        task,
        out=out,
        seed=seed,
        budget=budget,
        retrains=retrains,
        method_options=options,
        **flags.configuration(),
    )
    repetitions = [config.repetition(seed + repeat) for repeat in range(repeats)]
    for repetition in repetitions:
        if not is_finished(repetition.folder):
            check_writable(repetition.folder)
    records = []
    with interruptible(), Display(repeats) as display:
        loaded = None
        for repetition in repetitions:
            observer = Observer() if as_json else display
            if loaded is None and not vouched(repetition):
                loaded = load_task(task, config.task_options, flags.device)
                print_notices(loaded.notices)
            records.append(do_run(repetition, observer, loaded).content)
        if loaded is None:
            print_notices(records[0]["data"]["notices"])
    if as_json:
        print(json.dumps(records, indent=1))
