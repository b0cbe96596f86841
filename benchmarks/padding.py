"""How many tokens go through the encoder for each token that counts: on a processor, and as an accelerator has them.

    python benchmarks/padding.py --task stsb --data-dir FOLDER

A count, the same on every machine: matrix products are proportional to it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from hpo_bench.run.runner import load_task
from hpo_bench.tasks.text.encoder import _buckets
from hpo_bench.tasks.text.fixed import fixed

CPU, BATCHES = torch.device("cpu"), 100


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="stsb", help="stsb, mrpc, rte, cola or sst2")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    if given.data_dir:
        os.environ["HPO_BENCH_DATA"] = str(given.data_dir.resolve())
    task: Any = load_task(given.task, {}, "cpu").task
    print("| batch | processor | accelerator, one width | accelerator, buckets | batches of the usual widths |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for size in (32, 128):
        print(f"| {size} | " + " | ".join(f"{one:.2f}" for one in counted(task, size)) + " |", flush=True)


def counted(task: Any, size: int) -> list[float]:
    """Tokens for each that counts, three ways; and the share of batches that fit into the agreed widths."""
    usual, tokens, fit = task.corpus.usual_widths(size), [0, 0, 0, 0], 0
    for seed in range(1000, 1000 + BATCHES):
        batch = task.draw_batch(size, torch.Generator().manual_seed(seed))
        views = fixed(batch, task.corpus.packed.limit, CPU, usual).views
        there = next(iter(views.values()))
        sizes = torch.cat([view.sizes for view in views.values()]).sort().values
        own = sizes.split(-(-len(sizes) // _buckets(len(sizes), CPU)))
        buckets = sizes.split(-(-len(sizes) // len(there.widths)))
        tokens[0] += int(sizes.sum())
        tokens[1] += sum(len(part) * int(part[-1]) for part in own)
        tokens[2] += len(sizes) * there.ids.shape[1]
        tokens[3] += sum(len(part) * width for part, width in zip(buckets, there.widths, strict=True))
        fit += there.widths[:-1] == usual
    return [*(count / tokens[0] for count in tokens[1:]), fit / BATCHES]


if __name__ == "__main__":
    main()
