"""`study`: tasks × methods × seeds from a YAML file."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, Out, at_least, finite, given, refuse, use_data_dir
from hpo_bench.cli.stops import interruptible
from hpo_bench.errors import UserError


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="The study, such as experiments/bace.yaml.")],
    out: Out = Path("runs"),
    workers: Annotated[int, typer.Option(parser=at_least(1), help="Runs side by side, through Ray.")] = 1,
    ray_address: Annotated[str, typer.Option(help="`auto` or an address of a Ray cluster.")] = "",
    ray_timeout: Annotated[
        float | None, typer.Option(parser=finite, help="Seconds that the cluster may take to answer (60).")
    ] = None,
    data_dir: DataDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, train nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a whole study; what is done is skipped, what was cut short goes on. Exit code 1 if a run failed."""
    from hpo_bench.study.check import check, check_places, states
    from hpo_bench.study.execute import Cluster, execute, prepared
    from hpo_bench.study.plan import expand
    from hpo_bench.study.progress import Display
    from hpo_bench.study.report import as_data, show_plan, show_summary
    from hpo_bench.study.spec import read_study

    use_data_dir(data_dir)
    if not ray_address:
        refuse(given(ray_timeout=ray_timeout), "without --ray-address")
    with interruptible():
        asked = read_study(file)
        runs = expand(asked, out)
        found = states(runs)
        workspace = out / ".studies" / asked.name
        todo = [run for run, state in zip(runs, found, strict=True) if state != "done"]
        if dry_run and not as_json:
            show_plan(asked, runs, found)
        if todo:
            check_places(todo, workspace)
        check(runs, only=dry_run, tell=lambda line: print(line, file=sys.stderr))
        if dry_run:
            if as_json:
                print(json.dumps(as_data(asked, runs, found, []), indent=1))
            return
        outcomes = []
        if todo:
            with Display(asked.name, runs, found, workers) as display:
                outcomes = execute(
                    todo, workspace, workers, display, Cluster(ray_address, **given(timeout=ray_timeout))
                )
        elif workspace.exists():
            with suppress(UserError, OSError), prepared(workspace):  # what a killed process left is cleared away
                pass
    if as_json:
        print(json.dumps(as_data(asked, runs, found, outcomes), indent=1))
    else:
        show_summary(asked, runs, found, outcomes, out)
    if any(not outcome.ok for outcome in outcomes):
        raise typer.Exit(1)
