"""Making a base checkpoint: the encoder and the objectives' heads, with equal weights, on unlabelled molecules."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpo_bench.bases.training import Recipe, Rows, train
from hpo_bench.bases.workplace import STATE, clear_leftovers, workplace
from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.records.files import remove_files
from hpo_bench.tasks.base import Pretrainable

Save = Callable[[Path, nn.Module, dict[str, Any]], str]  # writes a model with its metadata, and gives the SHA-256


def pretrain_base(
    out: Path,
    *,
    molecules: int = 100_000,
    encoder: str = "gin",
    shape: dict[str, int],
    recipe: Recipe,
    device: str,
    save_every: float = 60.0,
) -> dict[str, Any]:
    """Train on `molecules` MOSES molecules, write the checkpoint, and return its metadata with its SHA-256.

    `made` in what is returned: it was not there before.

    `encoder` names one of `CORPORA`, `shape` what was asked for: layers, width, image_size. A training that was killed
    goes on from the folder `OUT.training`; a finished one is not made again.

    Raises:
        UserError: MOSES cannot be had, `out` cannot be written or holds something else, or the encoder has no such
            shape.
        Diverged: a loss is not finite.
    """
    from hpo_bench.data import load_moses

    if encoder not in CORPORA:
        raise unknown_name("encoder", encoder, sorted(CORPORA))
    make_corpus, understood = CORPORA[encoder]
    if others := [name for name in shape if name not in understood]:
        raise UserError(f"the encoder {encoder} has no {' and no '.join(others)}", "leave it out")
    prepare_process()
    plan = {"molecules": molecules, "encoder": encoder, **shape, **asdict(recipe)}
    finished, training = _finished(out, plan), out.with_name(f"{out.name}.training")
    if finished is not None:
        clear_leftovers(training, plan)
        return {**finished, "made": False}
    with workplace(training, plan) as folder:
        remove_files(out.parent, rf"{re.escape(out.name)}\.\d+\.tmp")  # as `save_base` writes it aside
        corpus, about, save = make_corpus(
            load_moses(molecules, recipe.seed), shape, resolve_device(device), recipe.seed
        )
        rows = Rows(about["molecules"], recipe.batch_size, recipe.seed)
        model, outcome = train(corpus, recipe, folder / STATE, rows=rows, save_every=save_every)
        metadata = {
            **about,
            "corpus": "MOSES, train part (molsets==0.3.1)",
            "recipe": asdict(recipe),
            "plan": plan,
            **outcome,
        }
        return {**metadata, "sha256": save(out, model, metadata), "made": True}


def _finished(out: Path, plan: dict[str, Any]) -> dict[str, Any] | None:
    """The metadata of the base that lies at `out` already.

    Raises:
        UserError: something else lies there, which would be written over.
    """
    from safetensors import SafetensorError, safe_open

    if not os.path.lexists(out):
        return None
    try:
        with safe_open(out, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("metadata", "{}"))
    except (SafetensorError, OSError, ValueError):
        metadata = {}
    if metadata.get("plan") != json.loads(json.dumps(plan)):
        told = "a base of other settings" if metadata else "no base"
        raise UserError(f"{out} is there already, and is {told}", "give another --out, or move it away")
    return {**metadata, "sha256": hashlib.sha256(out.read_bytes()).hexdigest()}


def _graphs(
    smiles: list[str], shape: dict[str, int], device: torch.device, seed: int
) -> tuple[Pretrainable, dict[str, Any], Save]:
    from hpo_bench.tasks.molecule.checkpoint import save_base
    from hpo_bench.tasks.molecule.corpus import MoleculeCorpus

    corpus = MoleculeCorpus(smiles, encoder=shape, device=device, seed=seed)
    return corpus, corpus.metadata, lambda path, model, about: save_base(path, model, corpus.statistics, about)


def _images(
    smiles: list[str], shape: dict[str, int], device: torch.device, seed: int
) -> tuple[Pretrainable, dict[str, Any], Save]:
    from hpo_bench.tasks.image.checkpoint import save_base
    from hpo_bench.tasks.image.corpus import ImageCorpus
    from hpo_bench.tasks.image.encoder import resnet18
    from hpo_bench.tasks.image.render import PUBLISHED_SIZE, check_size

    size, width = check_size(shape.get("image_size", PUBLISHED_SIZE)), shape.get("width", 64)
    corpus = ImageCorpus(smiles, size=size, encoder=resnet18(width), device=device, seed=seed)
    return corpus, corpus.metadata, lambda path, model, about: save_base(path, model.get_submodule("encoder"), about)


# Who makes the corpus of an encoder (with its metadata and how to save its model), and the shapes it understands.
CORPORA: dict[str, tuple[Callable[..., tuple[Pretrainable, dict[str, Any], Save]], tuple[str, ...]]] = {
    "gin": (_graphs, ("layers", "width")),
    "imagemol": (_images, ("width", "image_size")),
}
