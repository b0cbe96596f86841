"""`export`: records in the forms that other programs read."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app


class Format(StrEnum):
    """What `export` writes."""

    csv = "csv"
    parquet = "parquet"
    tensorboard = "tensorboard"
    mlflow = "mlflow"


@app.command()
def export(
    to: Annotated[Format, typer.Option("--to", help="csv and parquet: runs, trials, trajectories as tables.")],
    path: Annotated[Path, typer.Argument(help="Folder of the run records.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("export"),
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow: where to log (default: a file in OUT).")] = None,
    experiment: Annotated[str, typer.Option(help="MLflow: name of the experiment.")] = "hpo_bench",
) -> None:
    """All records as CSV or Parquet tables, TensorBoard event files, or MLflow runs."""
    from hpo_bench.errors import UserError

    try:
        out.mkdir(parents=True, exist_ok=True)
        _export(to, path, out, tracking_uri, experiment)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error}", "free some space, or give another folder with --out"
        ) from error


def _export(to: Format, path: Path, out: Path, tracking_uri: str | None, experiment: str) -> None:
    if to is Format.mlflow:
        from hpo_bench.compare.export.mlflow import log_runs

        where = tracking_uri or f"sqlite:///{(out / 'mlflow.db').resolve()}"
        print(f"logged {len(log_runs(path, where, experiment))} new runs to {where}, experiment {experiment}")
    elif to is Format.tensorboard:
        from hpo_bench.compare.export.tensorboard import write_events

        folders = write_events(path, out)
        print(
            f"wrote event files of {len(folders)} runs; look at them with: tensorboard --logdir {shlex.quote(str(out))}"
        )
    else:
        from hpo_bench.compare.export.tables import write_tables

        print("\n".join(f"wrote {file}" for file in write_tables(path, out, to.value)))
