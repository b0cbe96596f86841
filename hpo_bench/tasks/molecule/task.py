"""A MoleculeNet-like task: labelled molecules, a base encoder, and objectives on the train split's own molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.data.digest import digest_of
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, LoadedTask, Task
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.checkpoint import Base
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.metrics import metric_of
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES, MoleculeBatch
from hpo_bench.tasks.molecule.packed import PackedMolecules
from hpo_bench.tasks.probe import logistic, ridge, standardiser

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Splits:
    """Rows of the three splits, disjoint."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class MoleculeTask(Task):
    """Train and valid molecules with labels; the corpus of continued pretraining; the base.

    A split's `inputs` are `PackedMolecules`. `build_task` makes one, with its test split beside it.
    """

    def __init__(
        self, name: str, kind: Kind, metric: str, train: Labelled, valid: Labelled, corpus: MoleculeCorpus
    ) -> None:
        self.name = name
        self.kind = kind
        self.metric = metric_of(metric)
        self.train, self.valid = train, valid
        self.corpus = corpus
        self.objectives = corpus.objectives
        self.embedding_width = corpus.embedding_width
        self.device = corpus.device
        self.base_id = corpus.base.sha256 if corpus.base else "none"
        self._mean, self._std = standardiser(train.labels.double())

    @property
    def draws_on(self) -> torch.device:
        """The processor, also for an accelerator: a seed means the same batch on every device."""
        return torch.device("cpu")

    def build_model(self) -> nn.Module:
        return self.corpus.build_model()

    def draw_batch(self, size: int, generator: torch.Generator) -> MoleculeBatch:
        return self.corpus.draw_batch(size, generator)

    def objective_losses(self, model: nn.Module, batch: MoleculeBatch) -> Tensor:
        return self.corpus.objective_losses(model, batch)

    def embed(self, encoder: nn.Module, inputs: PackedMolecules, index: Tensor) -> Tensor:
        graphs = inputs.batch(index)
        return encoder(self.corpus.prepare(graphs) if encoder.training else graphs)[1]

    def task_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean over the labels present of the cross-entropy, or of the squared error on standardised labels."""
        known = ~labels.isnan()
        if self.kind == "classification":
            targets = torch.where(known, labels, 0.0).to(outputs.dtype)
            losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        else:
            targets = torch.where(known, (labels - self._mean) / self._std, 0.0).to(outputs.dtype)
            losses = (outputs - targets) ** 2
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        """Probabilities, or values in the user's units, in float64: an offset may leave float32 no digit."""
        return outputs.sigmoid() if self.kind == "classification" else outputs.double() * self._std + self._mean

    def solve_probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The L2-logistic or ridge head (see `probe`); its outputs are what `decode` expects."""
        if self.kind == "classification":
            return logistic(features, labels)
        return ridge(features, (labels - self._mean) / self._std)


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
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LoadedTask:
    """Featurise once, split, and hand back the task and, beside it, the test split.

    Args:
        smiles: N strings that RDKit accepts; labels: (N, L), NaN = missing, classes as 0 and 1.
        objectives: names from `objectives.OBJECTIVES`, in the order of the weights.
        base: the base checkpoint; None starts from scratch. encoder: arguments of `gin.Encoder`, without a base.
        corpus_smiles: molecules for continued pretraining. By default those of the train split alone: with the
            molecules of valid or test the encoder would adapt to what it is later judged on.

    Raises UserError for labels, splits or names that do not fit.
    """
    labels = np.asarray(labels, dtype=np.float64).reshape(len(smiles), -1)
    check_labels(labels, splits, kind, metric)
    molecules = featurise(smiles)
    device = torch.device(device)

    def labelled(split: str) -> tuple[Labelled, MoleculeArrays]:
        rows = np.asarray(getattr(splits, split), dtype=np.int64)
        part = molecules.take(rows)
        values = torch.from_numpy(labels[rows]).to(device)
        return Labelled(split, PackedMolecules(part, device), values), part

    (train, train_molecules), (valid, _), (test, _) = labelled("train"), labelled("valid"), labelled("test")
    own = corpus_smiles is None
    corpus = MoleculeCorpus(
        [smiles[row] for row in splits.train] if corpus_smiles is None else corpus_smiles,
        objectives,
        encoder=encoder,
        base=base,
        device=device,
        seed=seed,
        molecules=train_molecules if own else None,
        packed=train.inputs if own else None,
    )
    task = MoleculeTask(name, kind, metric, train, valid, corpus)
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
    content = content_of(smiles, labels, splits, [smiles[row] for row in splits.train] if own else corpus_smiles or [])
    return LoadedTask(task, test, report, content)


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
