"""Signal-to-noise of each way to estimate dF/dλ on a small network: prints the table of docs/hypergradients.md."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tapweight_problems import Networks
from torch import Tensor

from tapweight import (
    HypergradientFailure,
    Probe,
    cross_fit,
    hypergradient,
    probe_hypergradient,
    released_hypergradient,
    signal_to_noise,
    solvers,
)

SEEDS, DRAWS, STEPS = 3, 150, 300


def measure(seed: int) -> dict[str, Tensor]:
    """Name of the estimate → |mean|/std (3,); NaN where a solver refused."""
    problem = Networks(seed, dropout=0.2, decay=0.0, dtype=torch.float32)
    pretraining, finetuning, lam = problem.pretraining, problem.finetuning, torch.ones(3) / 3
    generator = torch.Generator().manual_seed(100 + seed)

    def batch(rows: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(rows, 3, generator=generator)
        return x, torch.stack([x[:, 0].sin(), x[:, 1] * x[:, 2], torch.randn(rows, generator=generator)], 1)

    train, valid = [batch(32) for _ in range(4)], [batch(32) for _ in range(4)]
    theta_optimizer = torch.optim.Adam(pretraining.module.parameters(), lr=5e-3)
    phi_optimizer = torch.optim.Adam(finetuning.module.parameters(), lr=5e-3)
    for s in range(STEPS):
        theta_optimizer.zero_grad()
        phi_optimizer.zero_grad()
        (lam * problem.losses(pretraining.module, batch(64))).sum().backward()
        theta_optimizer.step()
        problem.loss(finetuning.module, train[s % 4]).backward()
        finetuning.add_proximal_grad_(pretraining)
        phi_optimizer.step()

    def implicit(count: int = 1, whole: bool = True, **options: object) -> Callable[[int], Tensor]:
        return lambda s: (
            hypergradient(
                pretraining,
                finetuning,
                lam,
                pretrain_batches=[batch(64) for _ in range(count)],
                seed=7919 * s,
                train_batches=[train[s % 4]],
                valid_batches=valid if whole else [valid[s % 4]],
                **options,
            ).weights
        )

    probe = Probe(lambda m, b: m.encoder(b[0]), lambda b: b[1][:, :1] + 0.5 * b[1][:, 1:2], strength=0.01)

    def limit(count: int = 1, folds: int = 0) -> Callable[[int], Tensor]:
        def draw(s: int) -> Tensor:
            batches = [batch(64) for _ in range(count)]
            splits = list(cross_fit(train + valid, folds)) if folds else [(train, valid)]
            each = [
                probe_hypergradient(
                    pretraining, probe, lam, pretrain_batches=batches, train_batches=a, valid_batches=b, seed=7919 * s
                ).weights
                for a, b in splits
            ]
            return torch.stack(each).mean(0)

        return draw

    def released(s: int) -> Tensor:
        torch.manual_seed(7919 * s)
        return released_hypergradient(
            pretraining,
            finetuning,
            lam,
            pretrain_batch=batch(64),
            train_batch=train[s % 4],
            valid_batch=valid[s % 4],
            autocast=torch.bfloat16,
        ).weights

    cg = {
        "finetune_solver": solvers.ConjugateGradient(10, damping=0.1, tolerance=1e-3),
        "pretrain_solver": solvers.ConjugateGradient(10, damping=1.0, tolerance=1e-3),
    }
    adam = {
        "finetune_solver": solvers.AdamDiagonal(phi_optimizer),
        "pretrain_solver": solvers.AdamDiagonal(theta_optimizer),
    }
    estimates = {
        "released code (bf16 in place of fp16)": released,
        "one batch of each, identity": implicit(whole=False),
        "whole validation split": implicit(),
        "whole validation split, 4 pretraining batches": implicit(4),
        "Adam diagonal, whole validation split": implicit(**adam),
        "conjugate gradients, whole validation split": implicit(**cg),
        "normalised gradients, whole validation split": implicit(last_step="gradients", normalise=True),
        "probe limit": limit(),
        "probe limit, cross-fitted 4 ways": limit(folds=4),
        "probe limit, 4 pretraining batches": limit(4),
    }
    out = {}
    for name, draw in estimates.items():
        try:
            out[name] = signal_to_noise(draw, DRAWS, lam).ratio
        except HypergradientFailure as failure:
            out[name] = torch.full((3,), float("nan"))
            print(f"{name}, seed {seed}: {failure}")
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    runs = [measure(seed) for seed in range(SEEDS)]
    for name in runs[0]:
        mean = torch.stack([run[name] for run in runs]).mean(0)
        print(f"| {name} | " + " | ".join(f"{float(value):.2f}" for value in mean) + " |")
