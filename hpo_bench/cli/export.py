"""`export`: records in the forms that other programs read."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import given, refuse


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
    out: Annotated[Path | None, typer.Option(help="Folder to write to (export).")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow: where to log (default: a file in OUT).")] = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow: name of the experiment (hpo_bench).")] = None,
) -> None:
    """All records as CSV or Parquet tables, TensorBoard event files, or MLflow runs."""
    from hpo_bench.records.load import expect_runs
    from hpo_bench.records.run_folder import writing

    if to is not Format.mlflow:
        refuse(given(tracking_uri=tracking_uri, experiment=experiment), f"with --to {to.value}", "they are MLflow's")
    elif tracking_uri is not None:
        refuse(given(out=out), "with --tracking-uri, which says where to log")
        _log(path, tracking_uri, experiment)
        return
    expect_runs(path)
    folder = out or Path("export")
    with writing(folder):
        _export(to, path, folder, experiment)


def _log(path: Path, where: str, experiment: str | None) -> None:
    from hpo_bench.compare.export.mlflow import log_runs

    name = experiment or "hpo_bench"
    print(f"logged {len(log_runs(path, where, name))} new runs to {where}, experiment {name}")


def _export(to: Format, path: Path, out: Path, experiment: str | None) -> None:
    if to is Format.mlflow:
        _log(path, f"sqlite:///{(out / 'mlflow.db').resolve()}", experiment)
    elif to is Format.tensorboard:
        from hpo_bench.compare.export.tensorboard import write_events

        folders = write_events(path, out)
        print(
            f"wrote event files of {len(folders)} runs; look at them with: tensorboard --logdir {shlex.quote(str(out))}"
        )
    else:
        from hpo_bench.compare.export.tables import write_tables

        print("\n".join(f"wrote {file}" for file in write_tables(path, out, to.value)))
