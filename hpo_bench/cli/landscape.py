"""`landscape`: does weighting matter on a task, measured on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.measured import hand_over
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
    from hpo_bench.records.run_folder import check_new
    from hpo_bench.run.runner import Observer, load_task

    config = plan(task, out=out, seed=seed, method_options=flags.method_options(), **flags.configuration())
    check_new(out / task)
    with interruptible(), Display(seeds) as display:
        loaded = load_task(task, config.task_options, flags.device)
        print_notices(loaded.notices)
        found = measure(config, seeds, loaded, Observer() if as_json else display)

    def shown() -> tuple[Any, ...]:
        from hpo_bench.compare.tables.simplex import simplex_table

        return found.sentence, simplex_table(found)

    text = to_json(found, measured_with(config, loaded)) if as_json else None
    hand_over(text, shown, out / task, lambda: write(found, out / task))
