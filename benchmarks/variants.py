"""What is timed: whole iterations (pretraining step, fine-tuning step, weight update where due) and single updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from timing import Variant
from torch import Tensor
from workloads import Workload

from tapweight import (
    Implicit,
    Learner,
    ObjectiveWeights,
    WeightLearner,
    hypergradient,
    released_hypergradient,
    solvers,
)
from tapweight.evaluation import Capture


def variants(w: Workload, *, single_updates: bool, capture: Capture | None = None) -> dict[str, Variant]:
    """By name; the first is the plain pretraining step. `capture` records the passes of all of them."""
    # Plain Adam: what a weight update costs does not depend on the optimiser, and every variant has the same.
    weights = ObjectiveWeights(w.k, lr=1e-3)
    n, n5 = w.iterations, max(5, w.iterations)
    first_parameter = next(w.pretraining.module.parameters())
    fast: dict[str, Any] = {"fused": True, "capturable": True} if first_parameter.is_cuda else {}
    theta_optimizer = torch.optim.Adam(w.pretraining.module.parameters(), lr=1e-5, **fast)
    phi_optimizer = torch.optim.Adam(w.finetuning.module.parameters(), lr=1e-5, **fast)
    pretraining, finetuning = replace(w.pretraining, capture=capture), replace(w.finetuning, capture=capture)

    def train(mix: Tensor, batch: Any) -> Tensor:
        theta_optimizer.zero_grad(set_to_none=True)
        losses = w.pretraining.losses(w.pretraining.module, batch)
        (losses * mix).sum().backward()
        theta_optimizer.step()
        return losses.detach()

    trained = train if capture is None else capture(train)

    def plain() -> None:
        trained(weights.values.to(first_parameter), w.pretrain_batch)

    def learner(every: int, **options: Any) -> Callable[[], Any]:
        estimator = Implicit(batches=1, **options)
        beside = WeightLearner(pretraining, finetuning, weights, estimator=estimator, every=every)
        own = Learner(beside, theta_optimizer, phi_optimizer)
        return lambda: own.step(w.pretrain_batch, w.train_batch, w.valid_batch)

    def repeat(count: int, call: Callable[[], Any], then: Callable[[], Any] | None = None, every: int = 1) -> Variant:
        def block() -> None:
            for i in range(count):
                call()
                if then is not None and (i + 1) % every == 0:
                    then()

        return Variant(count, block)

    fixed = learner(10**9)

    def darts() -> None:
        found = released_hypergradient(
            w.pretraining,
            w.finetuning,
            weights.values,
            pretrain_batch=w.pretrain_batch,
            train_batch=w.train_batch,
            valid_batch=w.valid_batch,
            autocast=None,
            common_random_numbers=True,
        )
        weights.update(found.gradient)

    out = {
        "pretraining step": repeat(n, plain),
        "fine-tuning step too, weights fixed": repeat(n, fixed),
        "`Learner` with `forward`, every step": repeat(n, learner(1, last_step="forward")),
        "`Learner`, every step": repeat(n, learner(1)),
        "`darts` rule, every step": repeat(n, fixed, darts),
        "`Learner` with `forward`, every 5 steps": repeat(n5, learner(5, last_step="forward")),
        "`darts` rule, every 5 steps": repeat(n5, fixed, darts, every=5),
    }
    return {**out, **_single_updates(w, weights)} if single_updates else out


def _single_updates(w: Workload, weights: ObjectiveWeights) -> dict[str, Variant]:
    def update(function: Callable[..., Any], level: Any, **options: Any) -> Variant:
        def call() -> None:
            found = function(
                w.pretraining,
                level,
                weights.values,
                pretrain_batches=[w.pretrain_batch],
                train_batches=[w.train_batch],
                valid_batches=[w.valid_batch],
                **options,
            )
            weights.update(found.gradient)

        return Variant(1, call)

    # Damped so far that the Hessian of a network in training counts as positive definite: for time alone.
    cg = {f"{level}_solver": solvers.ConjugateGradient(5, damping=100.0) for level in ("finetune", "pretrain")}
    return {
        "one update alone: `central`": update(hypergradient, w.finetuning),
        "one update alone: `central`, 5 conjugate gradient iterations at both levels": update(
            hypergradient, w.finetuning, **cg
        ),
        "one update alone: probe limit": update(hypergradient, w.probe),
    }
