"""Making a language model of one's own: a BERT with a clean history, from an unlabelled corpus, with equal weights."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.errors import UserError
from hpo_bench.pretrain_base import train
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
        protocol, model, outcome = train(corpus, steps, batch_size, learning_rate, precision, seed)
        metadata = {
            "corpus": source,
            "seed": seed,
            "epochs": epochs,
            "protocol": protocol.to_json(),
            **outcome,
        }
        write_trained(out, Path(fresh), model.cpu(), metadata)  # type: ignore[arg-type]
    return {**metadata, "sha256": load_base(out).sha256}
