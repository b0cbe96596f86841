"""On a device: BERT beside a plain transformers loop, hypergradients beside plain steps, ImageMol's encoder."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import device_steps
import random_texts
import torch
from device_steps import Row, Size
from hypergradient import GOALS
from variants import variants
from workloads import WORKLOADS

from hpo_bench.core.captured import CapturedStep, CudaGraphs
from hpo_bench.tasks.image.corpus import ImageCorpus
from hpo_bench.tasks.image.encoder import RESNET18, resnet18
from hpo_bench.tasks.text.corpus import TextCorpus
from tapweight.evaluation import Capture


def bert(size: Size) -> Iterator[Row]:
    """Masked language modelling of BERT-base on texts that fill their 512 tokens, random weights and words."""
    from transformers import BertConfig, BertForMaskedLM

    rows, tokens, count = (4, 32, 1) if size.small else (32, 512, 5)
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    config = BertConfig(**(shape if size.small else {}))
    what = f"BERT {config.num_hidden_layers} × {config.hidden_size}, mlm, {rows} × {tokens}"
    corpus = _texts(size, config, rows, tokens)
    plain: Any = BertForMaskedLM(config)
    plain.to(size.device).train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-5)
    ids = torch.randint(1000, 30000, (rows, tokens), device=size.device)
    hidden = torch.rand(rows, tokens, device=size.device) < 0.15
    given = {"input_ids": ids.masked_fill(hidden, 103), "labels": torch.where(hidden, ids, -100)}
    given["attention_mask"] = torch.ones_like(ids)
    for precision in ("fp32", "bf16"):

        def step(bf16: bool = precision == "bf16") -> None:
            with torch.autocast(size.device.type, torch.bfloat16, enabled=bf16):
                loss = plain(**given).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        made = device_steps.trainer(corpus, rows, precision)  # type: ignore[arg-type]
        ours = device_steps.milliseconds(size, device_steps.stepper(made), count, warm=3)
        torch.use_deterministic_algorithms(False)  # as its users run it
        theirs = device_steps.milliseconds(size, step, count, warm=2)
        torch.use_deterministic_algorithms(True, warn_only=True)
        rate = f"{1e3 * rows * tokens / ours:,.0f} tokens/s"
        yield f"{what}, {precision}", f"{ours:.1f} ms, {rate}", "–", None
        yield f"{what}, {precision}, plain transformers loop", f"{theirs:.1f} ms", "–", None
        goal = precision == "bf16" and size.cuda
        times = theirs / ours
        reached = times >= 3 if goal else None
        yield f"{what}, {precision}, × plain loop", f"{times:.2f}", "≥ 3" if goal else "–", reached


def _texts(size: Size, config: Any, rows: int, tokens: int) -> TextCorpus:
    """Texts of words drawn by lot, each at least as long as an input."""
    texts = random_texts.texts(config, [tokens] * 2 * rows, torch.Generator().manual_seed(0))
    base, tokeniser = random_texts.base_of(config)
    return TextCorpus(texts, base, tokeniser, objectives=("mlm",), limit=tokens, device=size.device)


def hypergradient(size: Size) -> Iterator[Row]:
    """`Learner` at the published sizes: a step and an update of the weights in plain pretraining steps."""
    sizes = {"gin": (8, 8, 8)} if size.small else {"gin": (1210, 64, 64), "bert": (32, 32, 32)}
    for name, batches in sizes.items():
        workload = WORKLOADS[name](size.device, batches)
        for how, capture in (("eager", None), ("recorded", _recorded(size))):
            timed = variants(workload, single_updates=False, capture=capture)
            took: dict[str, list[float]] = {row: [] for row in ("pretraining step", *GOALS)}
            for turn in range(1 if size.small else 5):
                for row in took:
                    block = timed[row]
                    warm = 4 if turn == 0 else 1  # recorded at the third call
                    took[row].append(device_steps.milliseconds(size, block.call, 2, warm=warm) / block.iterations)
            plain = took.pop("pretraining step")
            for row, each in took.items():
                ratio, goal = statistics.median(a / b for a, b in zip(each, plain, strict=True)), GOALS[row]
                what = f"{name} {' / '.join(map(str, batches))}, {how}: {row}"
                found = f"{ratio:.2f} ({statistics.median(each):.1f} of {statistics.median(plain):.1f} ms)"
                judged = size.cuda and how == "recorded"
                yield what, found, f"≤ {goal}" if judged else "–", ratio <= goal if judged else None


def _recorded(size: Size) -> Capture:
    """Passes as CUDA graphs; on a processor what would be one, run again."""
    graphs = CudaGraphs() if size.cuda else (lambda run: run)
    return lambda body: CapturedStep(body, graphs)


def images(size: Size) -> Iterator[Row]:
    """ImageMol's ResNet-18 and its six objectives."""
    side, batch, count, encoder = (32, 4, 1, resnet18(8)) if size.small else (224, 64, 5, RESNET18)
    molecules = device_steps.smiles(size)[: 12 if size.small else 300]
    corpus = ImageCorpus(molecules, size=side, encoder=encoder, device=size.device)
    ends = [device_steps.end_of(corpus, batch, "fp32", True, 3) for _ in range(2)]
    same = ends[0] == ends[1]
    yield f"3 steps at {side} px twice", "identical" if same else "different", "identical", same
    for precision in ("fp32", "bf16"):
        took = []
        for captured in (False, True):
            made = device_steps.trainer(corpus, batch, precision, captured)  # type: ignore[arg-type]
            took.append(device_steps.milliseconds(size, device_steps.stepper(made), count))
        reason = f" ({made._captured.reason})" if made._captured and made._captured.reason else ""
        found = f"eager {took[0]:.1f} ms, captured {took[1]:.1f} ms{reason}"
        yield f"ImageMol, {batch} at {side} px, {precision}", found, "–", None
