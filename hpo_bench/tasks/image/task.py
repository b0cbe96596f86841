"""A MoleculeNet-like task on drawings: labels and metric are those of `MoleculeTask`, the encoder sees images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.tasks.base import Labelled, LoadedTask, only_planned
from hpo_bench.tasks.image.checkpoint import ImageBase
from hpo_bench.tasks.image.corpus import ImageCorpus
from hpo_bench.tasks.image.objectives import DEFAULT_OBJECTIVES
from hpo_bench.tasks.image.packed import PackedImages
from hpo_bench.tasks.image.render import PUBLISHED_SIZE, check_size, render
from hpo_bench.tasks.metrics import metric_of
from hpo_bench.tasks.molecule.task import FEW, TARGETS, Kind, Splits, check_labels, content_of
from hpo_bench.tasks.objective import Truth
from hpo_bench.tasks.supervised import CorpusTask
from hpo_bench.tasks.targets import target_of


class ImageTask(CorpusTask):
    """A split's `inputs` are `PackedImages`; fine-tuning reads them as they are, without augmentation."""

    def embed(self, encoder: nn.Module, inputs: PackedImages, index: Tensor) -> Tensor:
        return encoder(inputs.batch(index))


def build_image_task(
    name: str,
    smiles: Sequence[str],
    labels: np.ndarray,
    splits: Splits,
    *,
    kind: Kind,
    metric: str,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    image_size: int = PUBLISHED_SIZE,
    base: ImageBase | None = None,
    encoder: dict[str, Any] | None = None,
    corpus_smiles: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LoadedTask:
    """Draw once, split, and hand back the task and, beside it, the test split.

    The arguments are those of `molecule.build_task`. Without a base the encoder starts
    from the seed: no image base is shipped.

    Inside `planning` splits have no inputs, and the corpus is the first molecules of itself: it has fewer clusters.

    Raises:
        UserError: labels, splits, sizes or names that do not fit.
    """
    labels = np.asarray(labels, dtype=np.float64).reshape(len(smiles), -1)
    check_labels(labels, splits, kind, metric)
    device, planned = torch.device(device), only_planned()
    check_size(image_size)
    pictures = None if planned else render(smiles, image_size)

    def labelled(split: str) -> Labelled:
        rows = np.asarray(getattr(splits, split), dtype=np.int64)
        inputs = None if pictures is None else PackedImages(pictures[rows], device)
        return Labelled(split, inputs, torch.from_numpy(labels[rows]).to(device))

    train, valid, test = labelled("train"), labelled("valid"), labelled("test")
    own, target = corpus_smiles is None, target_of(TARGETS[kind], train.labels)
    unlabelled = [smiles[row] for row in splits.train] if corpus_smiles is None else corpus_smiles
    most = FEW if planned else len(unlabelled)
    corpus = ImageCorpus(
        unlabelled[:most],
        objectives,
        size=image_size,
        encoder=encoder,
        base=base,
        device=device,
        seed=seed,
        packed=train.inputs if own else None,
        truth=Truth(train.labels[:most], target) if own else None,
    )
    task = ImageTask(
        name,
        metric_of(metric),
        target,
        train,
        valid,
        corpus,
        embedding_width=corpus.embedding_width,
        base_id=base.sha256 if base else "none",
    )
    report = {
        "molecules": len(smiles),
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "corpus": "train split" if own else f"{len(corpus.packed)} given molecules",
        "corpus_hash": corpus.data_hash,
        "base": task.base_id,
        "checkpoint": base.report if base else {},
        "fresh_heads": list(corpus.objectives),
        "encoder": {"name": "imagemol", "image_size": image_size, **corpus.encoder_config},
        "clusters": corpus.clusters,
        "baseline_losses": corpus.baseline_losses,
    }
    content = content_of(smiles, labels, splits, unlabelled)
    return LoadedTask(task, test, report, content)
