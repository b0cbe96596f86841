"""How large is each objective's gradient, and what does the valid loss say of it, at the base and some steps later?

    python benchmarks/objective_gradients.py stsb --steps 20 --data-dir FOLDER

For each objective, over three batches: its loss over chance, the norm of its gradient on the encoder, and −⟨∇ℓ_i, v⟩,
with v the gradient of the validation loss under a head solved on train: the derivative of the validation loss in the
objective's weight that TapWeight's identity solver takes with a probe, up to a factor. Negative: more of it helps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from hpo_bench.cli.options import use_data_dir
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.problem import Problem, Trial
from hpo_bench.core.valid_gradient import ValidGradient, grads, trainable
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task

BATCHES = 3


def look(trial: Trial, told: str) -> None:
    """Print one line for each objective."""
    problem, pretrainer = trial.problem, trial.pretrainer
    parameters = trainable(encoder := pretrainer.model.get_submodule("encoder"))
    _, valid = ValidGradient(problem.task, problem.seed, problem.meter)(encoder, 0)
    found: list[list[tuple[float, float, float]]] = [[] for _ in problem.objectives]
    for step in range(pretrainer.step_number, pretrainer.step_number + BATCHES):
        for line, loss in zip(found, pretrainer.losses(pretrainer.draw_batch(step), step), strict=True):
            gradient = torch.cat([part.flatten() for part in grads(loss, parameters, keep=True)]).detach()
            line.append((float(loss.detach()), float(gradient.norm()), -float(gradient @ valid)))
    for name, line in zip(problem.objectives, found, strict=True):
        losses, norms, slopes = zip(*line, strict=True)
        slope = ", ".join(f"{one:+.3f}" for one in slopes)
        print(f"| {told} | {name} | {np.mean(losses):.4f} | {np.mean(norms):.2f} | {slope} |", flush=True)


def main() -> None:
    """A table in Markdown."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("task")
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--preset", default="quick")
    words.add_argument("--data-dir", type=Path)
    given = words.parse_args()
    use_data_dir(given.data_dir)
    config = configure("equal", given.task, out=Path("runs"), preset=given.preset, protocol={"mode": "probe"})
    task = load_task(config.task, config.task_options, "auto").task
    meter = CostMeter(config.protocol.batch_size, task.device)
    trial = Problem(task, config.protocol, 0, config.budget, meter).start_trial()
    print("| at | objective | loss over chance | norm | slope of the valid loss, batch by batch |")
    print("| --- | --- | ---: | ---: | --- |")
    look(trial, "base")
    trial.advance(np.full(task.num_objectives, 1 / task.num_objectives), given.steps)
    look(trial, f"{given.steps} equal steps")


if __name__ == "__main__":
    main()
