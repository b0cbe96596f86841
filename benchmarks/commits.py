"""A training step of this checkout's core beside that of another commit, on a processor.

    git worktree add /tmp/before COMMIT
    python benchmarks/commits.py /tmp/before --data-dir FOLDER

Every workload lives in a process of its own for each of the two, which takes turns with its other in every round, so a
busy machine slows both alike; what goes first changes from round to round. A step is drawn and trained by the core's
`Pretrainer`, as a search does. Processor seconds and the clock are measured; medians, and the quartiles of the rounds'
ratios. Losses of both are compared: after the same steps they differ by rounding at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
STEPS = 4  # of a turn
WORKLOADS = ("GIN 3 × 64, 128 molecules", "GIN 5 × 300, 256 molecules", "BERT 4 × 256, 32 sentences")


def main() -> None:
    """Print the table, or serve one workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkout of the other commit")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="a word in the workload's name")
    parser.add_argument("--data-dir", type=Path, help="folder with bace.csv")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.data_dir:
        os.environ["HPO_BENCH_DATA"] = str(given.data_dir.resolve())
    if given.serve:
        serve(given.serve, given.threads)
        return
    print("| step | before, ms of processor | now | now / before | quartiles | by the clock | losses differ by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in WORKLOADS:
        if given.only is None or given.only in name:
            compare(name, {"before": given.other.resolve(), "now": HERE.parents[1]}, given)


def compare(name: str, checkouts: dict[str, Path], given: argparse.Namespace) -> None:
    """Take turns, and print a row."""
    command = [sys.executable, "-u", str(HERE), str(given.other), "--serve", name, "--threads", str(given.threads)]
    pipe, started = subprocess.PIPE, {}
    try:
        for which, folder in checkouts.items():
            environment = {**os.environ, "PYTHONPATH": str(folder)}
            one = started[which] = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
            made_of = Path(_said(one)).resolve()
            if folder not in made_of.parents:
                raise RuntimeError(f"{which} runs {made_of}, not {folder}")
        turns: dict[str, list[list[float]]] = {which: [] for which in started}
        for round_ in range(given.rounds):
            for which in list(started)[:: 1 if round_ % 2 else -1]:
                turns[which].append(_turn(started[which]))
    finally:
        for one in started.values():
            one.kill()
    ratios = [now[0] / before[0] for before, now in zip(turns["before"], turns["now"], strict=True)]
    clock = statistics.median(now[1] / before[1] for before, now in zip(turns["before"], turns["now"], strict=True))
    middle = {which: statistics.median(turn[0] for turn in each) for which, each in turns.items()}
    low, _, high = statistics.quantiles(ratios, n=4)
    apart = max(abs(now[2] / before[2] - 1) for before, now in zip(turns["before"], turns["now"], strict=True))
    print(
        f"| {name} | {middle['before']:.1f} | {middle['now']:.1f} | {statistics.median(ratios):.3f} | "
        f"{low:.3f} to {high:.3f} | {clock:.3f} | {apart:.0e} |",
        flush=True,
    )


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a checkout's process ended without a word")
    return line.strip()


def _turn(process: subprocess.Popen[str]) -> list[float]:
    """Milliseconds of processor and clock a step, and the sum of the last losses."""
    assert process.stdin is not None
    process.stdin.write("turn\n")
    process.stdin.flush()
    found: list[float] = json.loads(_said(process))
    return found


def serve(name: str, threads: int) -> None:
    """In a process of its own: a turn for each line that comes."""
    import torch

    import hpo_bench.core
    from hpo_bench.core.device import prepare_process

    prepare_process()  # as the product does
    torch.set_num_threads(threads)
    step = stepper(name)
    for _ in range(3):
        step()
    print(hpo_bench.core.__file__, flush=True)
    for _ in sys.stdin:
        start, began = time.process_time(), time.perf_counter()
        for _ in range(STEPS):
            losses = step()
        took = time.process_time() - start, time.perf_counter() - began
        print(json.dumps([1e3 * each / STEPS for each in took] + [float(losses.sum())]), flush=True)


def stepper(name: str) -> Callable[[], Any]:
    """A whole step of a workload, which returns its losses; written with what both commits have."""
    import torch

    from hpo_bench.core.meter import CostMeter
    from hpo_bench.core.pretraining import Pretrainer
    from hpo_bench.core.protocol import Protocol

    corpus, batch = (
        texts()
        if name.startswith("BERT")
        else molecules(*(int(w) for w in name.replace(",", "").split() if w.isdigit()))
    )
    trainer = Pretrainer(corpus, Protocol(batch_size=batch), 0, CostMeter(batch, torch.device("cpu")))
    weights = torch.full((len(corpus.objectives),), 1 / len(corpus.objectives))
    return lambda: trainer.step(weights, trainer.draw_batch(trainer.step_number))


def molecules(layers: int, width: int, batch: int) -> tuple[Any, int]:
    """BACE with six objectives."""
    from hpo_bench.data import load_table, parse_smiles
    from hpo_bench.tasks.molecule.corpus import MoleculeCorpus

    table = load_table("bace")
    smiles = [table.smiles[row] for row in parse_smiles(table.smiles).kept]
    return MoleculeCorpus(smiles, encoder={"layers": layers, "width": width}), batch


def texts() -> tuple[Any, int]:
    """Sentences of 5 to 30 words drawn by lot, a random BERT of the size of BERT mini, three objectives."""
    import random_texts
    import torch
    import transformers

    from hpo_bench.tasks.text.corpus import TextCorpus

    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
    )
    base, tokeniser = random_texts.base_of(config)
    draw = torch.Generator().manual_seed(0)
    sentences = random_texts.texts(config, torch.randint(5, 31, (500,), generator=draw).tolist(), draw)
    return TextCorpus(sentences, base, tokeniser, limit=64), 32


if __name__ == "__main__":
    main()
