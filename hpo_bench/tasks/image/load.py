"""From a table of molecules and a command line's options to a task on images."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from hpo_bench.data.table import MoleculeTable
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import LoadedTask
from hpo_bench.tasks.image.checkpoint import ImageBase, load_base
from hpo_bench.tasks.image.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from hpo_bench.tasks.image.published import load_published
from hpo_bench.tasks.image.render import PUBLISHED_SIZE
from hpo_bench.tasks.image.task import build_image_task
from hpo_bench.tasks.molecule.task import Splits
from hpo_bench.tasks.planted import with_plants


def load_images(
    name: str,
    table: MoleculeTable,
    splits: Splits,
    metric: str,
    device: torch.device,
    *,
    objectives: Sequence[str] | None,
    plant: Sequence[str],
    base: str | None,
    corpus_smiles: Sequence[str] | None = None,
    image_size: int = PUBLISHED_SIZE,
    checkpoint: str | None = None,
) -> LoadedTask:
    """The task under ResNet-18, which is the paper's encoder.

    Raises:
        UserError: an option that does not fit.
    """
    return build_image_task(
        name,
        table.smiles,
        table.labels,
        splits,
        kind=table.kind,
        metric=metric,
        objectives=with_plants(objectives, DEFAULT_OBJECTIVES, plant, OBJECTIVES),
        image_size=image_size,
        base=choose_base(base, checkpoint),
        corpus_smiles=corpus_smiles,
        device=device,
    )


def choose_base(base: str | None, checkpoint: str | None) -> ImageBase | None:
    """ImageMol's file, one of ours, or None for a random start; what a published file lacks or adds is said on stderr.

    Raises:
        UserError: both are given, or a file does not fit.
    """
    if checkpoint is not None:
        if base is not None:
            raise UserError("--base and --checkpoint both name weights to start from", "give one of them")
        published = load_published(checkpoint)
        report = published.report
        unexpected = ", ".join(report["unexpected"]) or "none"
        print(
            f"{report['file']}: {report['loaded']} encoder tensors loaded; missing: {len(report['missing'])}; "
            f"unexpected, left out: {unexpected}",
            file=sys.stderr,
        )
        return published
    return None if base in (None, "none") else load_base(base)
