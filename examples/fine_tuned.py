"""What a language model scores when it is fine-tuned whole: a line for its card.

    python examples/fine_tuned.py stsb mrpc --data-dir FOLDER --set epochs=3 --task-option tokens=64 [--model my-bert]

No pretraining on the task's texts. The train split less valid is trained on, the epoch that is best on valid is kept,
and GLUE's dev set is scored once, by all of the task's metrics in per cent. `--valid` leaves dev alone: choose settings
by that.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from hpo_bench.cli.options import pairs, use_data_dir
from hpo_bench.core.adaptation import adapt, predict
from hpo_bench.core.device import prepare_process
from hpo_bench.core.meter import CostMeter
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task
from hpo_bench.tasks import metrics

PARTS = {
    "pearson_spearman": (metrics.pearson, metrics.spearman),
    "accuracy_f1": (metrics.accuracy, metrics.f1),
    "accuracy": (metrics.accuracy,),
    "matthews": (metrics.matthews,),
}


def main() -> None:
    """One row of a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--task-option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--valid", action="store_true", help="valid alone, for a choice of settings")
    given = parser.parse_args()
    use_data_dir(given.data_dir)
    prepare_process()
    options = pairs(given.task_option) | ({"model": given.model} if given.model else {})
    protocol = {"mode": "full", **pairs(given.set)}
    print("| task | rows of train, valid, dev | best epoch | valid | dev | processor minutes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name in given.tasks:
        start = time.process_time()
        config = configure("none", name, out=Path("runs"), protocol=protocol, task_options=options)
        loaded = load_task(name, config.task_options, "auto")
        task, meter = loaded.task, CostMeter(config.protocol.batch_size, loaded.task.device)
        encoder = task.build_model().get_submodule("encoder")
        adapted = adapt(task, encoder, config.protocol, given.seed, meter)
        told = "not looked at"
        if not given.valid:
            scores, labels = predict(task, adapted.model, loaded.test, meter), loaded.test.labels.cpu().numpy()
            told = " / ".join(f"{100 * part(scores, labels):.1f}" for part in PARTS[task.metric.name])
        rows = f"{len(task.train):,}, {len(task.valid):,}, {len(loaded.test):,}"
        minutes = (time.process_time() - start) / 60
        print(
            f"| {name} | {rows} | {adapted.epochs} | {100 * adapted.value:.1f} | {told} | {minutes:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
