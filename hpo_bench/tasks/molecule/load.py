"""Entry points: the MoleculeNet sets by name, and a user's own CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpo_bench.core.cores import share_of_cores
from hpo_bench.data import check_split, get_dataset, load_table, make_split, parse_smiles, read_table
from hpo_bench.data.notices import Notices, yes
from hpo_bench.data.repeats import find_repeats
from hpo_bench.data.splits import SPLIT_KINDS
from hpo_bench.data.table import MoleculeTable
from hpo_bench.data.tables.rows import listed
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.base import LoadedTask
from hpo_bench.tasks.molecule.checkpoint import Base, load_base, no_base
from hpo_bench.tasks.molecule.inspection import inspect_rows, inspect_splits
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from hpo_bench.tasks.molecule.regime import choose_regime
from hpo_bench.tasks.molecule.task import Splits, build_task
from hpo_bench.tasks.planted import with_plants
from hpo_bench.tasks.presets import TaskPreset, with_presets

SHIPPED_BASE = Path(__file__).parent / "base_gin.safetensors"
COLUMN = "column:"
SKIPPED_LISTED = 100  # skipped SMILES that a record names one by one; the rest are counted


def load_set(name: str, *, device: torch.device, split: str = "scaffold", **options: Any) -> LoadedTask:
    """A set of the catalogue, from the data folder, the cache or the package index.

    Raises:
        UserError: the set cannot be had, or an option does not fit.
    """
    metric = get_dataset(name).metric
    return _load(name, load_table(name), metric, split, device, **options)


def _base_is_named(options: Mapping[str, Any]) -> None:
    """The shipped base is smaller than the paper's.

    Raises:
        UserError: no base is named for the graph network.
    """
    if options.get("encoder", "gin") == "gin" and options.get("base") is None:
        raise UserError(
            "no base of the paper's size (5 layers, width 300) is shipped",
            "make one with hpo-bench pretrain-base --layers 5 --width 300 --out FILE, then give --base FILE",
        )


PRESETS = {"paper": TaskPreset(check=_base_is_named)}


@with_presets(**PRESETS)
def csv(
    *,
    device: torch.device,
    path: str | None = None,
    smiles: str = "smiles",
    label: Sequence[str] | None = None,
    kind: str | None = None,
    split: str = "scaffold",
    quoting: str = "standard",
    **options: Any,
) -> LoadedTask:
    """A user's own file: SMILES column, label columns, and whether they are classes or numbers.

    `split` is a kind of split, or a column with train, valid and test; `column:NAME` where the name is also a kind.

    Raises:
        UserError: something is missing or wrong in the file; it is named with its line.
    """
    if kind not in (None, "classification", "regression"):
        raise unknown_name("kind of label", kind, ("classification", "regression"))
    if path is None or not label or kind is None:
        raise UserError(
            "the task csv needs a file, its label column and the kind of the labels",
            "give --path FILE --smiles COLUMN --label COLUMN --kind classification or regression",
        )
    column = split.removeprefix(COLUMN) if split.startswith(COLUMN) or split not in SPLIT_KINDS else None
    labels = [label] if isinstance(label, str) else list(label)
    table = read_table(path, smiles, labels, kind=kind, split_column=column, quoting=quoting)  # type: ignore[arg-type]
    if column is None and split in table.split_columns:
        raise UserError(
            f"{split!r} is a kind of split, and also a column of {path} that holds splits",
            f"give --split {COLUMN}{split} for the column, or rename the column",
        )
    metric = "roc_auc" if kind == "classification" else "rmse"
    return _load("csv", table, metric, "column" if column else split, device, **options)


def _load(
    name: str,
    table: MoleculeTable,
    metric: str,
    split: str,
    device: torch.device,
    *,
    objectives: Sequence[str] | None = None,
    plant: Sequence[str] | None = None,
    base: str | None = None,
    encoder: str = "gin",
    labelled: int | None = None,
    corpus: str | None = None,
    allow_suspicious: object = False,
    **others: Any,
) -> LoadedTask:
    if encoder not in ENCODERS:
        raise unknown_name("encoder", encoder, sorted(ENCODERS))
    build, open_base, understood = ENCODERS[encoder]
    if unknown := [key for key in others if key not in understood]:
        known = [other for other, (*_, options) in ENCODERS.items() if set(unknown) <= set(options)]
        raise UserError(
            f"the task {name} with the encoder {encoder} has no option {', '.join(unknown)}",
            f"leave it out, or take --encoder {known[0]}" if known else "leave it out",
        )
    start = open_base(base)  # before the minutes that a large set takes
    workers = share_of_cores()
    parsed = parse_smiles(table.smiles, workers=workers)
    rows = len(table)
    notices = Notices(allow_suspicious)
    inspect_rows(notices, table, parsed)
    table = table.take(parsed.kept)
    repeats = find_repeats(parsed.canonical, table.labels)
    parts = make_split(table, split, workers=workers)  # type: ignore[arg-type]
    scored_on = check_split(table, parts)
    inspect_splits(notices, table, parsed.canonical, parts, repeats, scored_on)
    splits = Splits(parts.train, parts.valid, parts.test)
    regime = choose_regime(table, parsed.canonical, splits, labelled, corpus)
    if labelled is not None:
        left = check_split(table, replace(parts, train=regime.splits.train))["train"]
        if lost := [label for label in scored_on["train"] if label not in left]:
            told = f"{len(lost)} of {len(table.label_names)} labels without two values in train: {listed(lost, 5)}"
            notices.say(f"labelled={labelled} leaves {told}; nothing is learned of them")
    if leaked := regime.report.get("corpus_in_valid_or_test"):
        notices.say(f"{leaked:,} molecules of the corpus are in valid or test, and are left out of it")
    if skipped := regime.report.get("corpus_skipped"):
        notices.say(f"{skipped:,} SMILES of the corpus cannot be read by RDKit and are left out")
    if cut := regime.report.get("corpus_with_blank"):
        notices.say(f"{cut:,} SMILES of the corpus hold a blank, and are read up to it alone")
    chosen = {"objectives": objectives, "plant": plant or [], "base": start, **others}
    chosen["corpus_smiles"] = regime.corpus
    loaded = build(name, table, regime.splits, metric, device, **chosen)
    report = {
        **loaded.report,
        **regime.report,
        "source": _source(table),
        "rows": rows,
        "skipped_smiles": len(parsed.skipped),
        "skipped": [[int(row), text] for row, text in parsed.skipped[:SKIPPED_LISTED]],
        "duplicates": repeats.rows,
        "duplicate_groups": repeats.groups,
        "conflicting_groups": repeats.conflicting,
        "single_atom_molecules": int((parsed.atoms == 1).sum()),
        "labels_missing": float(np.isnan(table.labels).mean()),
        "split": parts.kind,
        "split_sha256": parts.fingerprint,
        "labels": list(table.label_names),
        "labels_scored": {part: len(names) for part, names in scored_on.items()},
        "positive_rate": _positive_rate(table.labels) if table.kind == "classification" else None,
    }
    return replace(loaded, report=report, notices=(*notices.sentences, *loaded.notices))


def _graphs(
    name: str,
    table: MoleculeTable,
    splits: Splits,
    metric: str,
    device: torch.device,
    *,
    objectives: Sequence[str] | None,
    plant: Sequence[str],
    base: Base | None,
    corpus_smiles: Sequence[str] | None = None,
    refine: object = True,
) -> LoadedTask:
    return build_task(
        name,
        table.smiles,
        table.labels,
        splits,
        kind=table.kind,
        metric=metric,
        objectives=with_plants(objectives, DEFAULT_OBJECTIVES, plant, OBJECTIVES),
        base=base,
        corpus_smiles=corpus_smiles,
        refine=yes("refine", refine),
        device=device,
    )


def _images(name: str, table: MoleculeTable, splits: Splits, metric: str, device: torch.device, **chosen: Any) -> Any:
    from hpo_bench.tasks.image.load import load_images

    return load_images(name, table, splits, metric, device, **chosen)


def _base_of_graphs(base: str | None) -> Base | None:
    chosen = choose_base(base)
    return None if chosen is None else load_base(chosen)


def _base_of_images(base: str | None) -> str | None:
    """As it is, if it is there: it goes together with the option `checkpoint`."""
    if base not in (None, "none") and not Path(base).is_file():
        raise no_base(base)
    return base


# Who builds a task for an encoder, who opens the base that was named, and the options that belong to it.
ENCODERS: dict[str, tuple[Callable[..., LoadedTask], Callable[[str | None], Any], tuple[str, ...]]] = {
    "gin": (_graphs, _base_of_graphs, ("refine",)),
    "imagemol": (_images, _base_of_images, ("image_size", "checkpoint")),
}


def choose_base(base: str | None) -> str | Path | None:
    """The checkpoint to start from: a path, None for no pretraining (`none`), or the one that is shipped."""
    if base == "none":
        return None
    return SHIPPED_BASE if base is None else base


def _source(table: MoleculeTable) -> dict[str, Any]:
    """Where the table came from, without this machine's folders: records travel."""
    source = {**table.source, "path": Path(table.source["path"]).name}
    if source.get("provider") == "data-dir":
        source["origin"] = source["path"]
    return source


def _positive_rate(labels: np.ndarray) -> float:
    return float(np.nanmean(labels))


def _of_catalogue(name: str) -> Callable[..., LoadedTask]:
    return with_presets(**PRESETS)(partial(load_set, name))


bace = _of_catalogue("bace")
bbbp = _of_catalogue("bbbp")
clintox = _of_catalogue("clintox")
sider = _of_catalogue("sider")
tox21 = _of_catalogue("tox21")
toxcast = _of_catalogue("toxcast")
hiv = _of_catalogue("hiv")
muv = _of_catalogue("muv")
esol = _of_catalogue("esol")
freesolv = _of_catalogue("freesolv")
lipophilicity = _of_catalogue("lipophilicity")
qm7 = _of_catalogue("qm7")
qm8 = _of_catalogue("qm8")
