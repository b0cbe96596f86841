"""Tokens a second of continued pretraining on text, beside a plain transformers.Trainer doing MLM alone.

    python benchmarks/text_step.py --threads 2 --data-dir FOLDER_WITH_GLUE

The same model, the same sentences, the same batch size, AdamW in both. Every alternative is timed in turn within each
round, so a busy machine slows all of them alike. A token is one of text or a special one; padding does not count. The
objectives beside MLM see the same texts again (contrast twice, sop once): "texts" counts a batch's tokens once, "seen"
as often as the encoder sees them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from hpo_bench.core.device import autocast, describe_processor, prepare_process
from hpo_bench.core.rng import generator
from hpo_bench.data.glue import load_glue
from hpo_bench.data.language_model import locate_minilm
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.tokens import Tokeniser

Step = Callable[[int], tuple[int, int]]  # number of the step -> tokens of its texts, tokens seen
OBJECTIVES = {"mlm": ("mlm",), "mlm, contrast, sop": ("mlm", "contrast", "sop")}


def ours(texts: list[str], layers: int, objectives: tuple[str, ...], batch: int, precision: Any) -> Step:
    """A whole step of the core's kind: draw, forward, backward, fused AdamW."""
    path = locate_minilm().path
    corpus = TextCorpus(texts, load_base(path, layers), Tokeniser(path), objectives=objectives)
    model = corpus.build_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)

    def step(number: int) -> tuple[int, int]:
        drawn = corpus.draw_batch(batch, generator(corpus.device, 0, "benchmark", number))
        with autocast(corpus.device, precision):
            losses = corpus.objective_losses(model, drawn)
        optimizer.zero_grad(set_to_none=True)
        losses.float().sum().backward()
        optimizer.step()
        sizes = [int(view.sizes.sum()) for view in drawn.views.values()]
        return sizes[0], sum(sizes)

    return step


def trainer(texts: list[str], layers: int, batch: int, precision: str) -> Step:
    """One training step of transformers.Trainer at a time, from its own loader and collator, as its users have it."""
    from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling, Trainer, TrainingArguments
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    path = locate_minilm().path
    tokenizer = Tokeniser(path).hf
    rows = [{"input_ids": ids} for ids in tokenizer(texts, truncation=True, max_length=128)["input_ids"]]
    model = AutoModelForMaskedLM.from_pretrained(path, num_hidden_layers=layers)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch,
        learning_rate=5e-5,
        bf16=precision == "bf16",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    loop = Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=DataCollatorForLanguageModeling(tokenizer)
    )
    loop.create_optimizer()
    assert loop.optimizer is not None
    batches = endless(loop)
    model.train()

    def step(number: int) -> tuple[int, int]:
        inputs = next(batches)
        tokens = int(inputs["attention_mask"].sum())
        loop.training_step(model, inputs)
        torch.nn.utils.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)  # Trainer's default
        loop.optimizer.step()
        model.zero_grad()
        return tokens, tokens

    return step


def endless(loop: Any) -> Iterator[Any]:
    """The trainer's own loader, without end."""
    while True:
        yield from loop.get_train_dataloader()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", help="folder with GLUE's STS-B")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    os.environ["HPO_BENCH_THREADS"] = str(given.threads)
    prepare_process()  # as the product does, for all alternatives alike
    texts = load_glue("stsb", given.data_dir).train.sentences()
    steps: dict[str, Step] = {}
    for precision in ("fp32", "bf16"):
        steps[f"transformers.Trainer, mlm, {precision}"] = trainer(texts, given.layers, given.batch, precision)
        for name, objectives in OBJECTIVES.items():
            steps[f"ours, {name}, {precision}"] = ours(texts, given.layers, objectives, given.batch, precision)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    texts_seen: dict[str, list[int]] = {name: [] for name in steps}
    all_seen: dict[str, list[int]] = {name: [] for name in steps}
    for number in range(given.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            once, seen = step(number)
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
                texts_seen[name].append(once)
                all_seen[name].append(seen)
    print(f"torch {torch.__version__}, {given.threads} threads, {describe_processor()}")
    print(f"MiniLM, {given.layers} layers, batch {given.batch}, {len(texts)} sentences of STS-B, {given.rounds} rounds")
    print(f"  {'':40s}{'ms a step':>12s}{'texts, tokens/s':>18s}{'seen, tokens/s':>18s}{'x Trainer':>12s}")
    for name in steps:
        rate = sum(all_seen[name]) / sum(seconds[name])
        reference = f"transformers.Trainer, mlm, {name.rpartition(' ')[2]}"
        times = rate / (sum(all_seen[reference]) / sum(seconds[reference]))
        once = sum(texts_seen[name]) / sum(seconds[name])
        median = 1e3 * statistics.median(seconds[name])
        print(f"  {name:40s}{median:12.0f}{once:18.0f}{rate:18.0f}{times:12.2f}")


if __name__ == "__main__":
    main()
