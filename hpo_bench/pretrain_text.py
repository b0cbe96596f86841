"""Making a language model of one's own: a BERT with a clean history, from an unlabelled corpus, with equal weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.pretrain_base import set_learning_rate
from hpo_bench.records import environment
from hpo_bench.records.run_folder import unwritable


def pretrain_text(
    out: Path,
    *,
    corpus_file: Path,
    epochs: int,
    layers: int = 3,
    width: int = 64,
    learning_rate: float,
    batch_size: int,
    seed: int,
    device: str,
    precision: str,
    objectives: Sequence[str] = ("mlm",),
    vocabulary: int = 8000,
    tokens: int = 128,
) -> dict[str, Any]:
    """Train a vocabulary and a BERT on a file of texts, write a folder that `--model` takes, return its metadata.

    Raises:
        UserError: the file cannot be read, `out` cannot be written, or `objectives` lack mlm (its head is kept).
        Diverged: a loss is not finite.
    """
    from rich.console import Console
    from rich.progress import Progress

    from hpo_bench.data.text_table import read_corpus
    from hpo_bench.tasks.text.corpus import TextCorpus
    from hpo_bench.tasks.text.encoder import load_base
    from hpo_bench.tasks.text.scratch import write_fresh, write_trained
    from hpo_bench.tasks.text.tokens import Tokeniser

    if "mlm" not in objectives:
        raise UserError("a language model is made with mlm at least", "name it among the objectives")
    texts, source = read_corpus(corpus_file)
    prepare_process()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    with tempfile.TemporaryDirectory(prefix="hpo_bench-") as fresh:
        write_fresh(Path(fresh), texts, layers=layers, width=width, vocabulary=vocabulary, seed=seed)
        corpus = TextCorpus(
            texts,
            load_base(fresh),
            Tokeniser(fresh),
            objectives=objectives,
            limit=tokens,
            device=resolve_device(device),
            seed=seed,
        )
        steps = epochs * max(1, len(corpus) // batch_size)
        protocol = Protocol.parsed(
            {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "precision": precision}
        )
        trainer = Pretrainer(corpus, protocol, seed, CostMeter(batch_size, corpus.device))
        recent: list[Tensor] = []
        made_by, started = environment.describe(), time.perf_counter()
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
            "corpus": source,
            "seed": seed,
            "epochs": epochs,
            "protocol": protocol.to_json(),
            "losses": dict(zip(corpus.objectives, losses, strict=True)),
            "seconds": time.perf_counter() - started,
            "environment": made_by,
        }
        write_trained(out, Path(fresh), trainer.model.cpu(), metadata)  # type: ignore[arg-type]
    return {**metadata, "sha256": load_base(out).sha256}
