"""Few labels and a larger corpus: when people pretrain there are many molecules and few measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.core.cores import share_of_cores
from hpo_bench.data import load_moses, parse_smiles
from hpo_bench.data.corpus import sample_smiles
from hpo_bench.data.smiles import rows_with_blank
from hpo_bench.data.table import MoleculeTable
from hpo_bench.errors import UserError

if TYPE_CHECKING:
    from hpo_bench.tasks.molecule.task import Splits

MOSES = "moses:"
_TRIES = 100  # draws of the labelled rows until each class is among them


@dataclass(frozen=True)
class Regime:
    """The splits with the train labels that are left, the corpus (None: the train split's own), and what to record."""

    splits: Splits
    corpus: list[str] | None = None
    report: dict[str, Any] = field(default_factory=dict)


def choose_regime(
    table: MoleculeTable, canonical: Sequence[str], splits: Splits, labelled: int | None, corpus: str | None
) -> Regime:
    """Keep `labelled` labels of train, and add the molecules of `corpus` to train's own for continued pretraining.

    The corpus keeps every molecule of the train split, also those whose label is left out. Molecules of valid and test
    never enter it; those that `corpus` holds are left out and counted, by canonical SMILES.

    Args:
        canonical: (N,) canonical SMILES of the table's rows.
        corpus: a CSV with a column `smiles`, a file with one SMILES a line, or `moses:N`.

    Raises:
        UserError: more labels than there are, a corpus that cannot be read, or one without any molecule.
    """
    if labelled is None and corpus is None:
        return Regime(splits)
    smiles = [table.smiles[row] for row in splits.train]
    report: dict[str, Any] = {}
    if labelled is not None:
        splits = replace(splits, train=few(splits.train, table.labels, labelled, table.kind))
        report |= {"labelled": labelled, "train_molecules": len(smiles)}
    if corpus is not None:
        given = read_corpus(corpus)
        parsed = parse_smiles(given, workers=share_of_cores())
        held_out = {canonical[row] for part in (splits.valid, splits.test) for row in part}
        known = {canonical[row] for row in splits.train} | set(smiles)
        leaked = repeated = 0
        for row, name in zip(parsed.kept, parsed.canonical, strict=True):
            if name in held_out:
                leaked += 1
            elif name in known:
                repeated += 1
            else:
                known.add(name)
                smiles.append(given[row])
        report |= {
            "corpus_source": corpus if corpus.startswith(MOSES) else corpus.rsplit("/", 1)[-1],
            "corpus_skipped": len(parsed.skipped),
            "corpus_with_blank": len(rows_with_blank(given)),
            "corpus_in_valid_or_test": leaked,
            "corpus_repeats": repeated,
        }
    return Regime(splits, smiles, report)


def few(train: np.ndarray, labels: np.ndarray, count: int, kind: str) -> np.ndarray:
    """`count` of the rows `train`, ascending, drawn by lot; the draw is always the same.

    Labels (N, L). Rows are drawn anew until every label that has both classes in train has them in the draw, if
    possible; else the draw that has most.

    Raises:
        UserError: `count` is no whole number from 2 to the number of rows.
    """
    if not isinstance(count, int) or not 2 <= count <= len(train):
        raise UserError(f"labelled={count} does not fit {len(train)} train molecules", f"give 2 to {len(train)}")
    draws = (train[np.random.default_rng(seed).permutation(len(train))[:count]] for seed in range(_TRIES))
    if kind != "classification":
        return np.sort(next(draws))
    wanted, best = _both(labels[train]), next(draws)
    for drawn in draws:
        if _both(labels[best]) == wanted:
            break
        best = max(best, drawn, key=lambda rows: _both(labels[rows]))
    return np.sort(best)


def _both(labels: np.ndarray) -> int:
    """How many columns hold both classes."""
    return int(((labels == 0).any(0) & (labels == 1).any(0)).sum())


def read_corpus(corpus: str) -> list[str]:
    """The SMILES of a file, or of MOSES.

    Raises:
        UserError: the file or the number cannot be read.
    """
    if not corpus.startswith(MOSES):
        return sample_smiles(corpus)
    count = corpus.removeprefix(MOSES)
    if not count.isdigit() or int(count) < 1:
        raise UserError(f"--corpus {corpus} does not say how many molecules", "write moses:50000, say")
    return load_moses(int(count))
