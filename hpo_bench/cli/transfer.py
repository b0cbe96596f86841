"""`transfer`: does what is best on valid hold on test?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.measured import hand_over
from hpo_bench.cli.options import FirstSeed, Json, Seeds, Task
from hpo_bench.cli.stops import interruptible
from hpo_bench.cli.trial import TrialFlags, takes_trial_flags


@app.command()
@takes_trial_flags("workers")  # it trains in this process
def transfer(
    task: Task,
    flags: TrialFlags,
    seeds: Seeds = 3,
    seed: FirstSeed = 0,
    out: Annotated[Path, typer.Option(help="Folder for the record.")] = Path("transfer"),
    as_json: Json = False,
) -> None:
    """Does what is best on valid hold on test? Every weighting of a landscape, read on both, after the fact."""
    from hpo_bench.cli.display import Display, print_notices
    from hpo_bench.measure.transfer import measure, plan, write
    from hpo_bench.records.run_folder import check_new
    from hpo_bench.run.runner import Observer, load_task

    config = plan(task, out=out, seed=seed, **flags.configuration())
    check_new(out / task)
    with interruptible(), Display(1) as display:
        loaded = load_task(task, config.task_options, flags.device)
        print_notices(loaded.notices)
        found = measure(config, seeds, loaded, Observer() if as_json else display)

    def shown() -> tuple[Any, ...]:
        from hpo_bench.compare.tables.transfer import transfer_table

        return found.sentence, transfer_table(found)

    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False) if as_json else None
    hand_over(text, shown, out / task, lambda: write(found, out / task))
