"""`data list`, `data fetch`, `data verify`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, print_rows

data_app = typer.Typer(help="Data sets: what is known, what is here, fetch it, check it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Every known data set: is it here, and where would it come from?"""
    from hpo_bench.data.manage import list_sources

    print_rows("data sets", [vars(row) for row in list_sources(data_dir)], as_json)


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
    print_rows("on this machine", [vars(located) for located in found], as_json)


@data_app.command("verify")
def data_verify(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check every file that is here against its SHA-256; exit code 1 if one is corrupt."""
    from hpo_bench.data.manage import verify

    rows = verify(data_dir=data_dir)
    print_rows("files", [vars(row) for row in rows], as_json)
    if any(row.status == "corrupt" for row in rows):
        raise typer.Exit(1)
