"""How much of a hypergradient is signal. Without this number a weight trajectory cannot be told from a random walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tapweight.checks import refuse_off_simplex, whole
from tapweight.weights import logits_gradient


@dataclass(frozen=True)
class SignalToNoise:
    """Per objective, over S draws: mean (K,), std (K,), and ratio = |mean| / std (K,) of a single draw.

    `draws_needed` (K,) is (2 / ratio)²: so many independent draws until the mean stands two standard errors from zero.
    `error` (K,) is the standard error of `ratio` itself, √((1 + ratio²/2) / S): a ratio below twice that is not
    distinguishable from none.
    """

    mean: Tensor
    std: Tensor
    ratio: Tensor
    error: Tensor

    @property
    def draws_needed(self) -> Tensor:
        return (2 / self.ratio).square()

    def table(self, names: Sequence[str]) -> str:
        """One line per objective."""
        rows = zip(names, self.mean, self.std, self.ratio, self.error, self.draws_needed, strict=True)
        return "\n".join(
            f"{n:>16} {float(m):+.2e} ± {float(s):.1e}  |mean|/std {float(r):.2f} ± {float(e):.2f}, "
            f"{float(d):.0f} draws to 2σ"
            for n, m, s, r, e, d in rows
        )


def signal_to_noise(draw: Callable[[int], Tensor], draws: int, weights: Tensor) -> SignalToNoise:
    """Measure a hypergradient's signal-to-noise ratio at one point.

    Args:
        draw: `draw(s)` gives dF/dλ (K,) with batches and seed number s; parameters stay put, so that draws differ by
            batches and random numbers alone.
        draws: S ≥ 2.
        weights: λ (K,). What moves the weights is λ ⊙ (dF/dλ − ⟨λ, dF/dλ⟩), and that is what is measured: a part of
            dF/dλ that all objectives share counts neither as signal nor as noise.

    Raises:
        ValueError: fewer than two draws, which have no standard deviation, or weights off the simplex.
    """
    whole("draws", draws, 2)
    refuse_off_simplex(weights)
    weights = weights.double().cpu()
    samples = torch.stack([logits_gradient(weights, draw(s).detach().double().cpu()) for s in range(draws)])
    mean, std = samples.mean(0), samples.std(0)
    ratio = mean.abs() / std.clamp_min(torch.finfo(torch.float64).tiny)
    return SignalToNoise(mean, std, ratio, ((1 + ratio.square() / 2) / draws).sqrt())


def cross_fit(batches: Sequence[Any], folds: int) -> Iterator[tuple[list[Any], list[Any]]]:
    """Split labelled batches into (train, valid) `folds` ways, every batch being valid once.

    For the probe limit, whose head is solved anew for each: the mean of the hypergradients uses each label in both
    roles, where a fixed split sees its few validation rows alone.

    Raises:
        ValueError: fewer than two folds, or more than batches; when the first fold is asked for.
    """
    if whole("folds", folds, 2) > len(batches):
        raise ValueError(f"folds is {folds}, must lie between 2 and the number of batches, {len(batches)}")
    for fold in range(folds):
        yield [b for i, b in enumerate(batches) if i % folds != fold], list(batches[fold::folds])
