"""`fidelity`: do learned weights point where the weights matter?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.measured import hand_over
from hpo_bench.cli.options import FirstSeed, Json, Seeds, Task, refuse
from hpo_bench.cli.stops import interruptible
from hpo_bench.cli.trial import TrialFlags, takes_trial_flags

ESTIMATORS = ["tapweight", "tapweight:replicates=2,share=0.5", "implicit"]
_HELP = f"METHOD, or METHOD:option=value,option=value (default: {'; '.join(ESTIMATORS)})."


@app.command()
@takes_trial_flags()
def fidelity(
    task: Task,
    flags: TrialFlags,
    estimator: Annotated[list[str] | None, typer.Option("--estimator", "-e", help=_HELP)] = None,
    seeds: Seeds = 3,
    seed: FirstSeed = 0,
    known: Annotated[
        Path | None, typer.Option("--landscape", help="One that was measured: what `landscape --json` printed.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for records, table and figure.")] = Path("fidelity"),
    as_json: Json = False,
) -> None:
    """Does an estimator predict what weights do? Its learned weights against a measured landscape, with its cost.

    The landscape is of as many seeds, and the estimators of as many others.
    """
    from hpo_bench.cli.display import Display, print_notices
    from hpo_bench.measure import landscape
    from hpo_bench.measure.fidelity import measure, plan, write
    from hpo_bench.records.run_folder import check_new
    from hpo_bench.run.runner import Observer, load_task

    if known is not None:
        told = "with --landscape, which leaves nothing to train side by side"
        refuse(flags.method_options(), told, "leave it out; a method is given its own: -e METHOD:workers=2")
    chosen = estimator or ESTIMATORS
    config = landscape.plan(task, out=out, seed=seed, method_options=flags.method_options(), **flags.configuration())
    planned = plan(task, chosen, out=out, seed=seed, **flags.configuration())
    check_new(out / task)
    with interruptible(), Display(seeds * (len(chosen) + (known is None))) as display:
        loaded = load_task(task, config.task_options, flags.device)
        print_notices(loaded.notices)
        measured = None if known is None else landscape.read(known, loaded, config)
        found = measure(config, planned, seeds, loaded, Observer() if as_json else display, measured)

    def shown() -> tuple[Any, ...]:
        from hpo_bench.compare.tables.fidelity import fidelity_table

        return (fidelity_table(found),)

    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False) if as_json else None
    hand_over(text, shown, out / task, lambda: write(found, out / task))
