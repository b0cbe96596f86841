"""Tokens a second of continued pretraining on text, beside a plain transformers.Trainer doing MLM alone.

    python benchmarks/text_step.py --threads 2 --data-dir FOLDER_WITH_GLUE

The same model, the same sentences, the same batch size, AdamW in both. Every alternative runs a few steps on end in
each round, in turn, so a busy machine slows all of them alike. A token is one of text or a special one; padding does
not count. The objectives beside MLM see the same texts again (contrast twice, sop once): "texts" counts a batch's
tokens once, "seen" as often as the encoder sees them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from hpo_bench.core.device import autocast, describe_processor, prepare_process
from hpo_bench.core.rng import generator
from hpo_bench.data.glue import load_glue
from hpo_bench.data.language_model import locate_minilm
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.tokens import Tokeniser

Measured = tuple[float, int, int]  # seconds of a step, tokens of its texts, tokens that the encoder saw
Block = Callable[[int], list[Measured]]  # so many steps on end -> what each but the first took
OBJECTIVES = {"mlm": ("mlm",), "mlm, contrast, sop": ("mlm", "contrast", "sop")}


def ours(texts: list[str], layers: int, objectives: tuple[str, ...], batch: int, precision: Any) -> Block:
    """A whole step of the core's kind: draw, forward, backward, AdamW."""
    path = locate_minilm().path
    corpus = TextCorpus(texts, load_base(path, layers), Tokeniser(path), objectives=objectives)
    model = corpus.build_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    def step(number: int) -> Measured:
        start = time.perf_counter()
        drawn = corpus.draw_batch(batch, generator(corpus.device, 0, "benchmark", number))
        with autocast(corpus.device, precision):
            losses = corpus.objective_losses(model, drawn)
        optimizer.zero_grad(set_to_none=True)
        losses.float().sum().backward()
        optimizer.step()
        sizes = [int(view.sizes.sum()) for view in drawn.views.values()]
        return time.perf_counter() - start, sizes[0], sum(sizes)

    return lambda steps: [step(number) for number in range(steps)][1:]


def trainer(texts: list[str], layers: int, batch: int, precision: str) -> Block:
    """`transformers.Trainer.train` with its own loader and collator, as its users have it; steps timed end to end."""
    from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling, Trainer, TrainingArguments
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    path = locate_minilm().path
    tokenizer = Tokeniser(path).hf
    rows = [{"input_ids": ids} for ids in tokenizer(texts, truncation=True, max_length=128)["input_ids"]]
    model = AutoModelForMaskedLM.from_pretrained(path, num_hidden_layers=layers)
    collate = DataCollatorForLanguageModeling(tokenizer)

    def block(steps: int) -> list[Measured]:
        tokens: list[int] = []
        ends: list[float] = []

        def counted(examples: list[Any]) -> Any:
            tokens.append(sum(len(example["input_ids"]) for example in examples))
            return collate(examples)

        class Clock(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                ends.append(time.perf_counter())

        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=batch,
            learning_rate=5e-5,
            max_steps=steps,
            bf16=precision == "bf16",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        data: Any = {"train_dataset": rows, "data_collator": counted}
        loop = Trainer(model=model, args=arguments, callbacks=[Clock()], **data)
        loop.remove_callback(PrinterCallback)
        loop.train()
        return [(end - start, count, count) for start, end, count in zip(ends, ends[1:], tokens[1:], strict=False)]

    return block


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", help="folder with GLUE's STS-B")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of each alternative in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    os.environ["HPO_BENCH_THREADS"] = str(given.threads)
    prepare_process()  # as the product does, for all alternatives alike
    texts = load_glue("stsb", given.data_dir).train.sentences()
    blocks: dict[str, Block] = {}
    for precision in ("fp32", "bf16"):
        blocks[f"transformers.Trainer, mlm, {precision}"] = trainer(texts, given.layers, given.batch, precision)
        for name, objectives in OBJECTIVES.items():
            blocks[f"ours, {name}, {precision}"] = ours(texts, given.layers, objectives, given.batch, precision)
    found: dict[str, list[Measured]] = {name: [] for name in blocks}
    for _ in range(given.rounds):
        for name, block in blocks.items():
            found[name] += block(given.steps + 1)
    print(f"torch {torch.__version__}, {given.threads} threads, {describe_processor()}")
    rounds = f"{given.rounds} rounds of {given.steps} steps"
    print(f"MiniLM, {given.layers} layers, batch {given.batch}, {len(texts)} sentences of STS-B, {rounds}")
    print(f"  {'':40s}{'ms a step':>12s}{'texts, tokens/s':>18s}{'seen, tokens/s':>18s}{'x Trainer':>12s}")
    rates = {name: sum(one[2] for one in all_) / sum(one[0] for one in all_) for name, all_ in found.items()}
    for name, all_ in found.items():
        once = sum(one[1] for one in all_) / sum(one[0] for one in all_)
        median = 1e3 * statistics.median(one[0] for one in all_)
        times = rates[name] / rates[f"transformers.Trainer, mlm, {name.rpartition(' ')[2]}"]
        print(f"  {name:40s}{median:12.0f}{once:18.0f}{rates[name]:18.0f}{times:12.2f}")


if __name__ == "__main__":
    main()
