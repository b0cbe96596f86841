"""Making a base checkpoint: the encoder and the objectives' heads, with equal weights, on unlabelled molecules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError, unknown_name
from hpo_bench.records import environment
from hpo_bench.records.run_folder import unwritable
from hpo_bench.tasks.base import Pretrainable

WARMUP = 0.02  # share of the steps over which the learning rate rises; it falls to zero along a cosine afterwards

Save = Callable[[Path, nn.Module, dict[str, Any]], str]  # writes a model with its metadata, and gives the SHA-256


def pretrain_base(
    out: Path,
    *,
    molecules: int = 100_000,
    epochs: int,
    encoder: str = "gin",
    shape: dict[str, int],
    learning_rate: float,
    batch_size: int,
    seed: int,
    device: str,
    precision: str,
) -> dict[str, Any]:
    """Train on `molecules` MOSES molecules, write the checkpoint, and return its metadata with its SHA-256.

    `encoder` names one of `CORPORA`, `shape` what was asked for: layers, width, image_size.

    Raises:
        UserError: MOSES cannot be had, `out` cannot be written, or the encoder has no such shape.
        Diverged: a loss is not finite.
    """
    from hpo_bench.data import load_moses

    if encoder not in CORPORA:
        raise unknown_name("encoder", encoder, sorted(CORPORA))
    make_corpus, understood = CORPORA[encoder]
    if others := [name for name in shape if name not in understood]:
        raise UserError(f"the encoder {encoder} has no {' and no '.join(others)}", "leave it out")
    prepare_process()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    corpus, about, save = make_corpus(load_moses(molecules, seed), shape, resolve_device(device), seed)
    protocol, model, outcome = train(
        corpus, epochs * max(1, about["molecules"] // batch_size), batch_size, learning_rate, precision, seed
    )
    metadata = {
        **about,
        "corpus": "MOSES, train part (molsets==0.3.1)",
        "epochs": epochs,
        "protocol": {"steps": protocol.steps, "batch_size": batch_size, "learning_rate": learning_rate}
        | {"precision": precision},
        **outcome,
    }
    return {**metadata, "sha256": save(out, model, metadata)}


def train(
    corpus: Pretrainable, steps: int, batch_size: int, learning_rate: float, precision: str, seed: int
) -> tuple[Protocol, nn.Module, dict[str, Any]]:
    """Equal weights, the rate warmed up to `learning_rate` and let down to zero, with a progress bar on stderr.

    Returns the protocol, the trained model, and for its metadata: the losses at the end, seconds, environment.

    Raises:
        UserError: a setting that is out of range.
        Diverged: a loss is not finite.
    """
    from rich.console import Console
    from rich.progress import Progress

    protocol = Protocol.parsed(
        {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "precision": precision}
    )
    trainer = Pretrainer(corpus, protocol, seed, CostMeter(batch_size, corpus.device))
    recent: list[Tensor] = []
    made_by = environment.describe()  # before training: the checkout may change meanwhile
    started = time.perf_counter()
    with Progress(console=Console(stderr=True)) as progress:
        row = progress.add_task("pretraining", total=steps)

        def after_step(step: int, losses: Tensor) -> None:
            set_learning_rate(trainer.optimizer, learning_rate, step, steps)
            recent.append(losses)
            del recent[:-100]
            progress.update(row, completed=step)

        set_learning_rate(trainer.optimizer, learning_rate, 0, steps)
        equal = WeightSchedule.constant([1 / corpus.num_objectives] * corpus.num_objectives)
        trainer.run(equal, steps, after_step)
    losses = torch.stack(recent).mean(0).tolist()
    return (
        protocol,
        trainer.model,
        {
            "losses": dict(zip(corpus.objectives, losses, strict=True)),
            "seconds": time.perf_counter() - started,
            "environment": made_by,
        },
    )


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


def set_learning_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Linear warm-up, then a cosine to zero."""
    warmup = max(1, int(WARMUP * steps))
    rate = peak * min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate
