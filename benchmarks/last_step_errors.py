"""How wrong differences of loss values are in single precision: against K gradients, on a workload as it stands."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from workloads import Workload

from tapweight import hypergradient, logits_gradient


def last_step_errors(w: Workload, seeds: int) -> str:
    """A line per way: relative error of what moves the weights, λ ⊙ (dF/dλ − ⟨λ, dF/dλ⟩), median and largest.

    A seed draws other random numbers (dropout, masks drawn in the losses) on the same batches; half of the seeds move
    the direction r instead, by taking the train batch for the validation batch.
    """
    weights = torch.full((w.k,), 1 / w.k)
    errors: dict[str, list[float]] = {"forward": [], "central": []}
    for seed in range(seeds):

        def found(how: Any, seed: int = seed) -> torch.Tensor:
            out = hypergradient(
                w.pretraining,
                w.finetuning,
                weights,
                pretrain_batches=[w.pretrain_batch],
                train_batches=[w.train_batch],
                valid_batches=[w.train_batch if seed % 2 else w.valid_batch],
                last_step=how,
                seed=seed,
            )
            return logits_gradient(weights, out.weights)

        exact = found("gradients")
        for how, values in errors.items():
            values.append(float((found(how) - exact).norm() / exact.norm()))
    return "\n".join(
        f"last_step={how}: relative error in float32 over {seeds} seeds, median {statistics.median(values):.1e}, "
        f"largest {max(values):.1e}"
        for how, values in errors.items()
    )
