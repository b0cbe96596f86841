"""Molecules as images: the tasks of `molecule` under ImageMol's ResNet-18 and its objectives (`--encoder imagemol`).

loaded = build_image_task(name, smiles, labels, splits, kind="classification", metric="roc_auc", image_size=64)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_bench.tasks.image.corpus import ImageCorpus as ImageCorpus
    from hpo_bench.tasks.image.published import load_published as load_published
    from hpo_bench.tasks.image.task import ImageTask as ImageTask
    from hpo_bench.tasks.image.task import build_image_task as build_image_task

_HOME = {
    "ImageCorpus": "corpus",
    "ImageTask": "task",
    "build_image_task": "task",
    "load_published": "published",
}
__all__ = ["ImageCorpus", "ImageTask", "build_image_task", "load_published"]


def __getattr__(name: str) -> Any:
    """Import on first use: naming the package must not cost the import of torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
