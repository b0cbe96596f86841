"""A MoleculeNet-like task: labelled molecules, a base encoder, and objectives on the train split's own molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.data.digest import digest_of
from hpo_bench.errors import UserError
from hpo_bench.tasks import targets
from hpo_bench.tasks.base import Labelled, LoadedTask, only_planned
from hpo_bench.tasks.metrics import metric_of
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.checkpoint import Base
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES
from hpo_bench.tasks.molecule.packed import PackedMolecules
from hpo_bench.tasks.objective import Truth
from hpo_bench.tasks.supervised import CorpusTask
from hpo_bench.tasks.targets import target_of

Kind = Literal["classification", "regression"]
FEW = 256  # molecules of the corpus of a task that is only planned: more than there are clusters
TARGETS: dict[Kind, targets.Kind] = {"classification": "binary", "regression": "regression"}


@dataclass(frozen=True)
class Splits:
    """Rows of the three splits, disjoint."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class MoleculeTask(CorpusTask):
    """Train and valid molecules with labels; the corpus of continued pretraining; the base.

    A split's `inputs` are `PackedMolecules`. `build_task` makes one, with its test split beside it.
    """

    corpus: MoleculeCorpus

    def embed(self, encoder: nn.Module, inputs: PackedMolecules, index: Tensor) -> Tensor:
        graphs = inputs.batch(index)
        return encoder(self.corpus.refinement(graphs) if encoder.training else graphs)[1]


def build_task(
    name: str,
    smiles: Sequence[str],
    labels: np.ndarray,
    splits: Splits,
    *,
    kind: Kind,
    metric: str,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    base: str | Path | Base | None = None,
    encoder: dict[str, Any] | None = None,
    corpus_smiles: Sequence[str] | None = None,
    refine: bool = True,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LoadedTask:
    """Featurise, split, and hand back the task and, beside it, the test split.

    Inside `planning` splits have no inputs, and the corpus is the first molecules of itself: featurising is nearly all
    of the time.

    Args:
        smiles: N strings that RDKit accepts; labels: (N, L), NaN = missing, classes as 0 and 1.
        objectives: names from `objectives.OBJECTIVES`, in the order of the weights.
        base: the base checkpoint; None starts from scratch. encoder: arguments of `gin.Encoder`, without a base.
        corpus_smiles: molecules for continued pretraining. By default those of the train split alone: with the
            molecules of valid or test the encoder would adapt to what it is later judged on.
        refine: see `MoleculeCorpus`; without it a training on a processor gives the same up to rounding, slower.

    Raises:
        UserError: labels, splits or names that do not fit.
    """
    labels = np.asarray(labels, dtype=np.float64).reshape(len(smiles), -1)
    check_labels(labels, splits, kind, metric)
    device, planned = torch.device(device), only_planned()
    molecules = None if planned else featurise(smiles, ())

    def labelled(split: str) -> Labelled:
        rows = np.asarray(getattr(splits, split), dtype=np.int64)
        inputs = None if molecules is None else PackedMolecules(molecules.take(rows), device)
        return Labelled(split, inputs, torch.from_numpy(labels[rows]).to(device))

    train, valid, test = labelled("train"), labelled("valid"), labelled("test")
    own, target = corpus_smiles is None, target_of(TARGETS[kind], train.labels)
    unlabelled = [smiles[row] for row in splits.train] if corpus_smiles is None else corpus_smiles
    most = FEW if planned else len(unlabelled)
    corpus = MoleculeCorpus(
        unlabelled[:most],
        objectives,
        encoder=encoder,
        base=base,
        device=device,
        seed=seed,
        packed=train.inputs if own else None,
        truth=Truth(train.labels[:most], target) if own else None,
        refine=refine,
    )
    task = MoleculeTask(
        name,
        metric_of(metric),
        target,
        train,
        valid,
        corpus,
        embedding_width=corpus.embedding_width,
        base_id=corpus.base.sha256 if corpus.base else "none",
    )
    report = {
        "molecules": len(smiles),
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "corpus": "train split" if own else f"{len(corpus)} given molecules",
        "corpus_hash": corpus.data_hash,
        "base": task.base_id,
        "fresh_heads": list(corpus.fresh_heads),
        "encoder": corpus.encoder_config,
    }
    return LoadedTask(task, test, report, content_of(smiles, labels, splits, unlabelled))


def content_of(
    smiles: Sequence[str], labels: np.ndarray, splits: Splits, corpus_smiles: Sequence[str]
) -> dict[str, str]:
    """`LoadedTask.content` of N molecules with labels (N, L)."""
    return {
        "table": digest_of(smiles, labels),
        "split": digest_of(*(np.asarray(part, np.int64) for part in (splits.train, splits.valid, splits.test))),
        "corpus": digest_of(corpus_smiles),
    }


def check_labels(labels: np.ndarray, splits: Splits, kind: Kind, metric: str) -> None:
    """Do labels (N, L) fit the kind of task, its metric and the splits?

    Raises:
        UserError: they do not.
    """
    expected = metric_of(metric).name == "roc_auc"
    if expected != (kind == "classification"):
        raise UserError(f"metric {metric} does not fit a {kind} task", "roc_auc is for classification alone")
    known = labels[~np.isnan(labels)]
    if kind == "classification" and not np.isin(known, (0.0, 1.0)).all():
        raise UserError("labels of a classification task must be 0 or 1", "use kind=regression, or recode the labels")
    if not np.isfinite(known).all():
        raise UserError("a label is infinite", "leave the cell empty if the value is unknown")
    parts = {name: np.asarray(getattr(splits, name)) for name in ("train", "valid", "test")}
    rows = np.concatenate(list(parts.values()))
    if len(np.unique(rows)) < len(rows):
        raise UserError("the splits overlap", "a molecule may be in one split only")
    for name, part in parts.items():
        if len(part) == 0:
            raise UserError(f"the {name} split is empty", "use more molecules or another split")
        values = labels[part]
        if np.isnan(values).all():
            raise UserError(f"the {name} split has no label at all", "use more molecules or another split")
        if kind == "classification" and name == "valid" and not _has_both_classes(values):
            raise UserError("no label of the valid split has both classes", "use another split: roc_auc is undefined")


def _has_both_classes(values: np.ndarray) -> bool:
    return any(len(np.unique(column[~np.isnan(column)])) == 2 for column in values.T)
