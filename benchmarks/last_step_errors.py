"""How wrong the last step is in single precision: every way against K gradients, on a workload as it stands."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from workloads import Workload

from tapweight import directional, hypergradient, logits_gradient

STEPS = (5e-3, 1e-3, 3.5e-4, 1e-4, 3e-5)  # relative steps of the differences; 4.9e-3 and 3.5e-4 are the defaults
TRAINED = 30


def last_step_errors(w: Workload) -> str:
    """A Markdown table: relative error of λ ⊙ (dF/dλ − ⟨λ, dF/dλ⟩) for exact derivatives and by relative step.

    At the base and after some training steps on one batch, along two directions r: of the validation batch and of the
    train batch.
    """
    weights = torch.full((w.k,), 1 / w.k)

    def found(how: Any, batch: Any, step: float | None = None) -> Tensor:
        with patch.object(directional, "difference_step", _at(step) if step else directional.difference_step):
            out = hypergradient(
                w.pretraining,
                w.finetuning,
                weights,
                pretrain_batches=[w.pretrain_batch],
                train_batches=[w.train_batch],
                valid_batches=[batch],
                last_step=how,
                seed=0,
            )
        return logits_gradient(weights, out.gradient)

    differences = [(how, step) for how in ("forward", "central") for step in STEPS]
    lines = ["| point, direction | `jvp` |" + "".join(f" `{how}` {step:g} |" for how, step in differences)]
    lines.append("| --- |" + " ---: |" * (1 + len(differences)))
    for point in ("base", f"after {TRAINED} steps"):
        if point != "base":
            _train(w, weights)
        for name, batch in (("valid", w.valid_batch), ("train", w.train_batch)):
            exact = found("gradients", batch)
            got = [found("jvp", batch)]
            got += [found(how, batch, step) for how, step in differences]
            errors = [float((one - exact).norm() / exact.norm()) for one in got]
            lines.append(f"| {point}, {name} |" + "".join(f" {error:.1e} |" for error in errors))
    return "\n".join(lines)


def _at(relative: float) -> Any:
    """`difference_step` with another relative step."""
    default = directional.difference_step

    def step(at: Any, direction: Tensor, order: int) -> float:
        return default(at, direction, order) * relative / torch.finfo(direction.dtype).eps ** (1 / (order + 1))

    return step


def _train(w: Workload, weights: Tensor) -> None:
    optimizers = [torch.optim.Adam(level.module.parameters(), lr=1e-3) for level in (w.pretraining, w.finetuning)]
    for _ in range(TRAINED):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        (w.pretraining.losses(w.pretraining.module, w.pretrain_batch) * weights).sum().backward()
        w.finetuning.loss(w.finetuning.module, w.train_batch).backward()
        w.finetuning.add_proximal_grad_(w.pretraining)
        for optimizer in optimizers:
            optimizer.step()
