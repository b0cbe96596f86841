"""Making a base checkpoint: the encoder and the objectives' heads, with equal weights, on unlabelled molecules."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.records import environment
from hpo_bench.records.run_folder import unwritable

WARMUP = 0.02  # share of the steps over which the learning rate rises; it falls to zero along a cosine afterwards


def pretrain_base(
    out: Path,
    *,
    molecules: int,
    epochs: int,
    encoder: dict[str, Any],
    learning_rate: float,
    batch_size: int,
    seed: int,
    device: str,
    precision: str,
) -> dict[str, Any]:
    """Train on `molecules` MOSES molecules, write the checkpoint, and return its metadata with its SHA-256.

    Raises:
        UserError: MOSES cannot be had, or `out` cannot be written.
        Diverged: a loss is not finite.
    """
    from rich.console import Console
    from rich.progress import Progress

    from hpo_bench.data import load_moses
    from hpo_bench.tasks.molecule.checkpoint import save_base
    from hpo_bench.tasks.molecule.corpus import MoleculeCorpus

    prepare_process()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    corpus = MoleculeCorpus(load_moses(molecules, seed), encoder=encoder, device=resolve_device(device), seed=seed)
    steps = epochs * max(1, len(corpus) // batch_size)
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
    metadata = {
        **corpus.metadata,
        "corpus": "MOSES, train part (molsets==0.3.1)",
        "epochs": epochs,
        "protocol": {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "precision": precision},
        "losses": dict(zip(corpus.objectives, losses, strict=True)),
        "seconds": time.perf_counter() - started,
        "environment": made_by,
    }
    return {**metadata, "sha256": save_base(out, trainer.model, corpus.statistics, metadata)}


def set_learning_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Linear warm-up, then a cosine to zero."""
    warmup = max(1, int(WARMUP * steps))
    rate = peak * min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate
