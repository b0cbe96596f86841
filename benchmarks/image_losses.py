"""Do ImageMol's losses fall? Equal weights on the drawn molecules of one set; prints a table in Markdown.

    python benchmarks/image_losses.py --task bace --image-size 64 --width 64 --steps 100

A row is an objective: its loss over its value at chance, mean of the first ten and of the last ten steps (training
mode, fresh molecules and augmentations at every step), and the ratio.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from hpo_bench.core.device import describe_processor, prepare_process, resolve_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.data import load_table, parse_smiles
from hpo_bench.tasks.image.corpus import ImageCorpus
from hpo_bench.tasks.image.encoder import resnet18
from hpo_bench.tasks.image.objectives import OBJECTIVES
from hpo_bench.tasks.objective import on_any_corpus


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="bace")
    parser.add_argument("--molecules", type=int, help="only the first so many")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage; ResNet-18 has 64")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    threads, device = prepare_process(), resolve_device(given.device)
    table = load_table(given.task)
    smiles = table.take(parse_smiles(table.smiles).kept).smiles[: given.molecules]
    corpus = ImageCorpus(
        smiles,
        on_any_corpus(OBJECTIVES),
        size=given.image_size,
        encoder=resnet18(given.width),
        device=device,
        seed=given.seed,
    )
    protocol = Protocol.parsed(
        {"steps": given.steps, "batch_size": given.batch_size, "learning_rate": given.learning_rate}
    )
    trainer = Pretrainer(corpus, protocol, given.seed, CostMeter(given.batch_size, device))
    equal = WeightSchedule.constant([1 / corpus.num_objectives] * corpus.num_objectives)
    losses: list[Tensor] = []
    trainer.run(equal, given.steps, lambda _, found: losses.append(found.cpu()))
    print(
        f"{given.task}: {len(corpus)} molecules, {given.image_size} px, widths {corpus.encoder_config['widths']}, "
        f"{given.steps} steps of {given.batch_size}, AdamW {given.learning_rate:g}, seed {given.seed}; "
        f"{describe_processor()}, {threads} thread(s), torch {torch.__version__}\n"
    )
    print(
        "| objective | chance | first ten steps | last ten steps | last / first |\n| --- | ---: | ---: | ---: | ---: |"
    )
    first, last = torch.stack(losses[:10]).mean(0).tolist(), torch.stack(losses[-10:]).mean(0).tolist()
    for name, before, after in zip(corpus.objectives, first, last, strict=True):
        chance = corpus.baseline_losses[name]
        print(f"| {name} | {chance:.3f} | {before:.3f} | {after:.3f} | {after / before:.2f} |")
    print(f"\nclusters: {', '.join(f'{name} {count}' for name, count in corpus.clusters.items())}")


if __name__ == "__main__":
    main()
