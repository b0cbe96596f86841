"""Molecules: MoleculeNet tasks, a GIN encoder, seven self-supervised objectives.

    loaded = build_task(name, smiles, labels, splits, kind="classification", metric="roc_auc", base=path)

`MoleculeCorpus` alone (no labels) with `save_base` makes the base checkpoint.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_bench.tasks.molecule.checkpoint import load_base as load_base
    from hpo_bench.tasks.molecule.checkpoint import save_base as save_base
    from hpo_bench.tasks.molecule.corpus import MoleculeCorpus as MoleculeCorpus
    from hpo_bench.tasks.molecule.task import MoleculeTask as MoleculeTask
    from hpo_bench.tasks.molecule.task import Splits as Splits
    from hpo_bench.tasks.molecule.task import build_task as build_task

_HOME = {
    "MoleculeCorpus": "corpus",
    "MoleculeTask": "task",
    "Splits": "task",
    "build_task": "task",
    "load_base": "checkpoint",
    "save_base": "checkpoint",
}
__all__ = ["MoleculeCorpus", "MoleculeTask", "Splits", "build_task", "load_base", "save_base"]


def __getattr__(name: str) -> Any:
    """Import on first use: naming the package must not cost the import of torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
