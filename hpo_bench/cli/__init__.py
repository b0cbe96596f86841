"""The command line, one file a verb.

Thin: it turns words into a configuration and calls the packages, which it imports when needed.
"""

# Each registers its verbs; this is the order of `--help`.
from hpo_bench.cli import run, study, landscape, transfer, fidelity, compare, export, records, data, pretrain_base  # noqa: F401, I001
from hpo_bench.cli.app import app

__all__ = ["app"]
