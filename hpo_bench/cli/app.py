"""The application that every command registers with."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Objective weights for continued pretraining: methods compared on one training core under one bill.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
