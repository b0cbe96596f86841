"""`landscape`: does weighting matter on a task, measured on purpose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import FirstSeed, Json, Seeds, Task
from hpo_bench.cli.stops import interruptible
from hpo_bench.cli.trial import TrialFlags, takes_trial_flags


@app.command()
@takes_trial_flags()
def landscape(
    task: Task,
    flags: TrialFlags,
    seeds: Seeds = 3,
    seed: FirstSeed = 0,
    out: Annotated[Path, typer.Option(help="Folder for records, table and figure.")] = Path("landscape"),
    as_json: Json = False,
) -> None:
    """Does weighting matter? Valid score at vertices, centre and edge midpoints of the simplex × paired seeds."""
    from hpo_bench.cli.display import Display, print_notices
    from hpo_bench.measure.landscape import measure, measured_with, plan, to_json, write
    from hpo_bench.records.run_folder import check_new, writing
    from hpo_bench.run.runner import Observer, load_task

    config = plan(task, out=out, seed=seed, method_options=flags.method_options(), **flags.configuration())
    check_new(out / task)
    with interruptible(), Display(seeds) as display:
        loaded = load_task(task, config.task_options, flags.device)
        print_notices(loaded.notices)
        found = measure(config, seeds, loaded, Observer() if as_json else display)
    if as_json:
        print(to_json(found, measured_with(config, loaded)))
    else:
        from rich.console import Console

        from hpo_bench.compare.tables.simplex import simplex_table

        console = Console(markup=False)
        console.print(found.sentence, style="bold", highlight=False)
        console.print(simplex_table(found))
    with writing(out / task):  # after printing: what was measured is shown, whatever becomes of the files
        files = write(found, out / task)
    print(f"files: {', '.join(str(file) for file in files)}", file=sys.stderr)
