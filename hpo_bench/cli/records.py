"""`list` and `show`: what there is, and what one run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import Json


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Methods, tasks, presets, objectives and solvers."""
    from hpo_bench.cli.listing import listing, show_listing

    found = listing()
    print(json.dumps(found, indent=1)) if as_json else show_listing(found)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="A run folder, e.g. runs/bace/tapweight/seed-0.")],
    as_json: Json = False,
) -> None:
    """One run: status, weights, scores, bill, and how to do it again."""
    from hpo_bench.cli.listing import show_run
    from hpo_bench.records.schema import read_run

    content = read_run(run)
    print(json.dumps(content, indent=1)) if as_json else show_run(content, run)
