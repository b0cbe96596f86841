"""What a trial of STS-B at the preset `quick` costs on a processor, part by part, beside its matrix products alone.

    python benchmarks/text_trial.py --threads 2 --data-dir FOLDER_WITH_GLUE

Both ways of adapting: the probe, which is the preset's, and `--mode full`.

A part's processor seconds are medians over rounds, times how often a trial does it; they count the work of all threads,
so that a machine that others use slows them by far less than the clock on the wall. The products are the FLOPs that
torch counts, at the speed of one product of the size of a layer's, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch

from hpo_bench.core.adaptation import features_of, predict
from hpo_bench.core.device import describe_processor, prepare_process
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task

_SHAPE = (272, 256, 1024)  # a bucket's tokens through a feed-forward layer


def timed(part: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds."""
    processor, wall = time.process_time(), time.perf_counter()
    part()
    return time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", help="folder with GLUE's STS-B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    os.environ["HPO_BENCH_THREADS"] = str(given.threads)
    if given.data_dir:
        os.environ["HPO_BENCH_DATA"] = given.data_dir
    prepare_process()
    config = configure("equal", "stsb", out=Path("runs"), preset="quick")
    protocol, task = config.protocol, load_task("stsb", config.task_options, "cpu").task
    meter = CostMeter(protocol.batch_size, task.device)
    weights = torch.full((task.num_objectives,), 1 / task.num_objectives)
    trainer = Pretrainer(task, protocol, 0, meter)
    tuner = FineTuner(task, protocol, trainer.model.get_submodule("encoder"), 0, meter)
    rows, width, out = _SHAPE
    left, right = torch.randn(rows, width), torch.randn(width, out)
    encoder, train = trainer.model.get_submodule("encoder"), torch.arange(len(task.train))

    def features() -> None:
        encoder.eval()
        with torch.no_grad():
            features_of(task, encoder, task.train, train, meter)

    parts: dict[str, Callable[[], object]] = {
        "step of pretraining": lambda: trainer.step(weights, trainer.draw_batch(trainer.step_number)),
        "features of train": features,
        "step of fine-tuning": lambda: tuner.step(tuner.draw_batch(tuner.step_number)),
        "scores of valid": lambda: predict(task, tuner.model, task.valid, meter),
        "100 products": lambda: [left @ right for _ in range(100)],
    }
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(given.rounds + 1):
        for name, part in parts.items():
            seconds = timed(part)
            if number:  # the first of each allocates
                found[name].append(seconds)
    middle = {
        name: [statistics.median(column) for column in zip(*seconds, strict=True)] for name, seconds in found.items()
    }
    speed = 100 * 2 * rows * width * out / middle["100 products"][0]
    samples = {  # of one of each, as passes forward
        "step of pretraining": ("pretraining", 3 * protocol.batch_size),
        "features of train": ("adaptation", len(task.train)),
        "step of fine-tuning": ("adaptation", 3 * protocol.adapt_batch_size),
        "scores of valid": ("adaptation", len(task.valid)),
    }
    probe = {"step of pretraining": protocol.steps, "features of train": 1, "scores of valid": 1}
    full = {
        "step of pretraining": protocol.steps,
        "step of fine-tuning": protocol.epochs * tuner.steps_per_epoch,
        "scores of valid": protocol.epochs,
    }
    print(f"torch {torch.__version__}, {given.threads} threads, {describe_processor()}")
    print(f"products: {speed / 1e9:.0f} GFLOP a processor second")
    print(f"  {'':22s}{'processor s':>13s}{'wall s':>9s}{'products alone, s':>20s}")
    each = {
        name: [*middle[name], meter.flops_per_sample[kind] * count / speed] for name, (kind, count) in samples.items()
    }
    for mode, times in (("probe", probe), ("full", full)):
        totals = [sum(times[name] * each[name][column] for name in times) for column in range(3)]
        each[f"a trial, {mode}"] = totals
    for name, (processor, wall, products) in each.items():
        print(f"  {name:22s}{processor:13.2f}{wall:9.2f}{products:20.2f}")


if __name__ == "__main__":
    main()
