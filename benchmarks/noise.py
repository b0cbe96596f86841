"""How much of one hypergradient is signal, on the GIN of the molecule task with a planted worthless objective.

    python benchmarks/noise.py                                   # BACE and ESOL, two seeds, all estimates
    python benchmarks/noise.py --tasks esol --seeds 3 --draws 40 --only probe

The encoder starts from the base checkpoint and is trained for a warm-up under equal weights, the fine-tuned copy beside
it. Then parameters stay put, and each estimate is drawn again and again: new pretraining batches, new train rows where
it takes some, new valid rows where it takes a part of them. What is measured is dF/dα = λ ⊙ (dF/dλ − ⟨λ, dF/dλ⟩), which
moves the weights.

The signal-to-noise ratio ρ of one draw is given free of bias: ρ² is mean²/variance less what n draws of pure noise
show, averaged over objectives and seeds; √ of it, 0 where negative. The test split is not used.
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hpo_bench.core.adaptation import AdaptedModel
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import generator
from hpo_bench.search.implicit_levels import TaskProbe
from hpo_bench.tasks.molecule.corpus import choose_atoms
from hpo_bench.tasks.molecule.load import load_set
from hpo_bench.tasks.molecule.objectives.base import MASKED, MoleculeBatch
from hpo_bench.tasks.objective import CLEAN
from tapweight import (
    Finetuning,
    Hypergradient,
    HypergradientFailure,
    Pretraining,
    cross_fit,
    hypergradient,
    logits_gradient,
    released_hypergradient,
    solvers,
)

Draw = Callable[[int], Hypergradient]


class Point:
    """θ and φ after the warm-up, and every estimate of dF/dλ there."""

    def __init__(self, task: Any, seed: int, warmup: int, protocol: Protocol) -> None:
        self.task, self.protocol, self.seed = task, protocol, seed
        meter = CostMeter(protocol.batch_size, task.device)
        self.pretrainer = Pretrainer(task, protocol, seed, meter)
        encoder = self.pretrainer.model.get_submodule("encoder")
        self.tuner = FineTuner(task, protocol, encoder, seed, meter)
        self.pretraining = Pretraining(self.pretrainer.model, task.objective_losses)
        self.finetuning = Finetuning(self.tuner.model, self.loss, gamma=0.1, batch_size=lambda b: len(b[1]))
        self.weights = torch.full((task.num_objectives,), 1 / task.num_objectives)
        for step in range(warmup):
            self.pretrainer.step(self.weights, self.pretrainer.draw_batch(step))
            rows = self.tuner.draw_batch(step)
            self.tuner.step(rows, lambda: self.finetuning.add_proximal_grad_(self.pretraining))
        self.probe = TaskProbe(task)

    def loss(self, model: Any, batch: tuple[Any, Tensor]) -> Tensor:
        assert isinstance(model, AdaptedModel)
        split, index = batch
        return self.task.task_loss(model.outputs(self.task, split.inputs, index), split.labels[index])

    def batches(self, draw: int, count: int = 1) -> list[Any]:
        """Pretraining batches that no step and no other draw has seen."""
        return [self.pretrainer.draw_batch(10_000 + 100 * draw + i) for i in range(count)]

    def rows(self, split: Any, draw: int, size: int | None = None, again: bool = False) -> tuple[Any, Tensor]:
        """`size` rows of a split by lot, or all of them; `again`: as many as it has, with replacement (bootstrap)."""
        source = generator(self.task.device, self.seed, split.name, draw)
        if again:
            return split, torch.randint(len(split), (len(split),), generator=source)
        return split, torch.randperm(len(split), generator=source)[:size]

    def tuned(
        self, count: int = 1, whole: bool = True, again: bool = False, make: Callable[[], dict[str, Any]] = dict
    ) -> Draw:
        """Exact directional derivatives, unless `make` says otherwise: an error of theirs is no noise of a draw."""
        return lambda s: hypergradient(
            self.pretraining,
            self.finetuning,
            self.weights,
            pretrain_batches=self.batches(s, count),
            train_batches=[self.rows(self.task.train, s, self.protocol.adapt_batch_size)],
            valid_batches=[self.rows(self.task.valid, s, None if whole else self.protocol.adapt_batch_size, again)],
            seed=7919 * s,
            **({"last_step": "jvp"} | make()),
        )

    def both(self, name: str, **options: Any) -> Callable[[], dict[str, Any]]:
        """The same solver at both levels."""
        return lambda: {
            f"{level}_solver": solvers.by_name(name, optimizer=owner.optimizer, **options)
            for level, owner in (("finetune", self.tuner), ("pretrain", self.pretrainer))
        }

    def limit(
        self, count: int = 1, folds: int = 0, train: int | None = None, again: bool = False, **options: Any
    ) -> Draw:
        def draw(s: int) -> Hypergradient:
            labelled = [self.rows(self.task.train, s, train, again)], [self.rows(self.task.valid, s, None, again)]
            splits: list[Any] = [labelled]
            if folds:
                # A fold holds rows of both splits.
                parts = [[(split, part) for part in rows.tensor_split(folds)] for [(split, rows)] in labelled]
                splits = [
                    ([pair for a in together for pair in a], [pair for b in held_out for pair in b])
                    for together, held_out in cross_fit(list(zip(*parts, strict=True)), folds)
                ]
            each = [
                hypergradient(
                    self.pretraining,
                    self.probe,
                    self.weights,
                    pretrain_batches=self.batches(s, count),
                    train_batches=a,
                    valid_batches=b,
                    seed=7919 * s,
                    **({"last_step": "jvp"} | options),
                )
                for a, b in splits
            ]
            return Hypergradient(torch.stack([h.gradient for h in each]).mean(0), each[0].valid_loss, None)

        return draw

    def released(self) -> Draw:
        """On copies: the rule leaves its mark on batch-norm statistics."""
        theta, phi = copy.deepcopy((self.pretrainer.model, self.tuner.model))

        def draw(s: int) -> Hypergradient:
            torch.manual_seed(7919 * s)
            return released_hypergradient(
                Pretraining(theta, self.task.objective_losses),
                Finetuning(phi, self.loss, gamma=0.1),
                self.weights,
                pretrain_batch=self.batches(s)[0],
                train_batch=self.rows(self.task.train, s, self.protocol.adapt_batch_size),
                valid_batch=self.rows(self.task.valid, s, self.protocol.adapt_batch_size),
                autocast=torch.bfloat16,
            )

        return draw

    def other_masks(self) -> Draw:
        """No common random numbers: each pass over a batch hides other atoms, as losses that draw masks inside do."""
        passes = iter(range(10**9))

        def losses(model: Any, batch: MoleculeBatch) -> Tensor:
            source = generator(self.task.device, self.seed, "masks", next(passes))
            clean = batch.views[CLEAN]
            atoms = choose_atoms(clean, torch.rand(clean.num_atoms, generator=source, device=self.task.device))
            hidden = torch.zeros(clean.num_atoms, dtype=torch.bool, device=self.task.device)
            hidden[atoms] = True
            edges = hidden[clean.source] | hidden[clean.destination]
            one_way = (edges & (clean.source < clean.destination)).nonzero().squeeze(1)
            views = {CLEAN: clean, MASKED: clean.masked(hidden, edges)}
            return self.task.objective_losses(model, MoleculeBatch(batch.index, views, atoms, one_way))

        same = self.tuned(make=lambda: {"last_step": "central"})

        def draw(s: int) -> Hypergradient:
            kept, self.pretraining.losses = self.pretraining.losses, losses
            try:
                return same(s)
            finally:
                self.pretraining.losses = kept

        return draw

    def estimates(self) -> dict[str, Draw]:
        normalised: dict[str, Any] = {"last_step": "gradients", "normalise": True}
        out = {
            "released code (bf16 in place of fp16)": self.released(),
            "one batch of each, identity": self.tuned(whole=False),
            "whole valid split": self.tuned(),
            "whole valid split, central differences": self.tuned(make=lambda: {"last_step": "central"}),
            "whole valid split, central differences, masks anew in each pass": self.other_masks(),
            "whole valid split, 4 pretraining batches": self.tuned(4),
            "whole valid split, 8 pretraining batches": self.tuned(8),
            "4 pretraining batches, valid rows bootstrapped": self.tuned(4, again=True),
            "Adam diagonal": self.tuned(make=self.both("adam_diagonal")),
            "Adam diagonal, 4 pretraining batches": self.tuned(4, make=self.both("adam_diagonal")),
            "normalised gradients": self.tuned(make=lambda: normalised),
            "probe limit, whole train split": self.limit(),
            "probe limit, 256 train rows": self.limit(train=256),
            "probe limit, 256 train rows, 4 pretraining batches": self.limit(4, train=256),
            "probe limit, whole train split, 4 pretraining batches": self.limit(4),
            "probe limit, cross-fitted 4 ways, 4 pretraining batches": self.limit(4, folds=4),
            "probe limit, 4 pretraining batches, train and valid rows bootstrapped": self.limit(4, again=True),
            "probe limit, normalised gradients": self.limit(**normalised),
        }
        for name, extra in (("cg", {"iterations": 10, "tolerance": 1e-3}), ("nystrom", {}), ("neumann", {})):
            for damping in (0.1, 1.0, 10.0) if name != "nystrom" else (0.1,):
                out[f"{name}, damping {damping:g}"] = self.tuned(make=self.both(name, damping=damping, **extra))
        return out


def sample(draw: Draw, draws: int, weights: Tensor) -> tuple[Tensor | str, float]:
    """dF/dα (S, K), or why there is none; and seconds a draw."""
    start, out = time.perf_counter(), []
    for s in range(draws):
        try:
            out.append(logits_gradient(weights.double(), draw(s).gradient.double()))
        except HypergradientFailure as failure:
            return f"draw {s}: {failure}", (time.perf_counter() - start) / (s + 1)
    return torch.stack(out), (time.perf_counter() - start) / draws


def squared_ratio(samples: Tensor) -> Tensor:
    """ρ² (K,) of one draw, without the bias of S normal draws: E[mean²/var] = (1/S + ρ²)(S−1)/(S−3)."""
    s = len(samples)
    return samples.mean(0).square() / samples.var(0) * (s - 3) / (s - 1) - 1 / s


def standard_error(samples: Tensor) -> Tensor:
    return samples.std(0) / math.sqrt(len(samples))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def row(name: str, found: list[Tensor | str], seconds: float, noise: int) -> str:
    """One line of the table: all seeds of one estimate."""
    refusals = [f"seed {seed}, {one}" for seed, one in enumerate(found) if isinstance(one, str)]
    if refusals:
        return f"| {name} | no ratio, because {refusals[0].replace('|', '∣')} | | | | | |"
    samples = [one for one in found if isinstance(one, Tensor)]
    ratio = torch.stack([squared_ratio(one) for one in samples]).mean().clamp_min(0).sqrt()
    sure = sum(int((one.mean(0).abs() > 2 * standard_error(one)).sum()) for one in samples)
    means = [one.mean(0) for one in samples]
    agreement = [cosine(a, b) for i, a in enumerate(means) for b in means[:i]]
    z = [f"{float(one.mean(0)[noise] / standard_error(one)[noise]):+.1f}" for one in samples]
    down = [f"{float(one[:, noise].sign().mean() / 2 + 0.5):.2f}" for one in samples]
    agreed = f"{sum(agreement) / len(agreement):+.2f}" if agreement else ""
    return (
        f"| {name} | {float(ratio):.2f} | {sure} of {sum(one.shape[1] for one in samples)} | {agreed} | "
        f"{', '.join(z)} | {', '.join(down)} | {1000 * seconds:.0f} |"
    )


def per_objective(names: tuple[str, ...], found: Mapping[str, list[Tensor | str]]) -> str:
    lines = [f"| estimate | seed | {' | '.join(names)} |", "| --- | ---: |" + " ---: |" * len(names)]
    for name, runs in found.items():
        for seed, one in enumerate(runs):
            if isinstance(one, Tensor):
                pairs = zip(1e4 * one.mean(0), 1e4 * standard_error(one), strict=True)
                lines.append(f"| {name} | {seed} | " + " | ".join(f"{m:+.1f} ± {e:.1f}" for m, e in pairs) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="bace,esol")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--only", default="", help="estimates whose name has one of these, separated by commas")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}, Python "
        f"{platform.python_version()}; GIN 3 × 64 from the base checkpoint, {args.warmup} steps of warm-up under equal "
        f"weights; pretraining batches of {args.batch_size}; seeds 0 to {args.seeds - 1}, {args.draws} draws each, "
        f"half of them for cg, nystrom and neumann; "
        f"a mean lies beyond 2 standard errors by chance in 5 to 6 % of objectives"
    )
    for name in args.tasks.split(","):
        task: Any = load_set(name, device=torch.device("cpu"), plant=["noise"]).task
        protocol = Protocol(batch_size=args.batch_size)
        points = [Point(task, seed, args.warmup, protocol) for seed in range(args.seeds)]
        print(f"\n{name}: train {len(task.train)}, valid {len(task.valid)}\n")
        print("| estimate | ρ | beyond 2 SE | cosine between seeds | z of noise | share of draws | ms |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        found: dict[str, list[Tensor | str]] = {}
        for estimate in points[0].estimates():
            if not any(part in estimate for part in args.only.split(",")):
                continue
            solved = any(estimate.startswith(one) for one in solvers.names())
            draws = args.draws // 2 if solved else args.draws  # products with the Hessian take seconds
            runs = [sample(point.estimates()[estimate], draws, point.weights) for point in points]
            found[estimate] = [one for one, _ in runs]
            seconds = sum(each for _, each in runs) / len(runs)
            print(row(estimate, found[estimate], seconds, task.objectives.index("noise")), flush=True)
        print("\ndF/dα × 10⁴, mean ± standard error; positive lowers the weight\n")
        print(per_objective(task.objectives, found))


if __name__ == "__main__":
    main()
