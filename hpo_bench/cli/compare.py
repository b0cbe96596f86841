"""`compare`: a table, figures and a verdict of all finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import Json


@app.command()
def compare(
    path: Annotated[Path, typer.Argument(help="Folder of the run records.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder for figures and tables.")] = Path("analysis"),
    reference: Annotated[str | None, typer.Option(help="Method that the others are compared with (equal).")] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures; they take most of the time.")] = True,
    insert: Annotated[Path | None, typer.Option(help="Markdown file with a marked place for the result.")] = None,
    equivalent: Annotated[
        str | None, typer.Option(help="Difference that is none to you: 0.005 of the metric, or 2% of the error.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One table of all finished runs, with intervals and bills; figures and tables go into OUT."""
    from hpo_bench.compare import compared, written
    from hpo_bench.compare.stats.equivalence import Region

    region = None if equivalent is None else Region.parse(equivalent)
    comparison = compared(path, reference=reference, equivalent=region)
    if as_json:
        print(comparison.to_json())
    else:
        from rich.console import Console

        Console(markup=False).print(comparison)
    if insert is not None:  # after printing: what is found is shown, whatever becomes of the files
        from hpo_bench.compare.tables.brief import insert as insert_into

        insert_into(comparison.to_brief_markdown(), insert)
    written(comparison, out, figures)
