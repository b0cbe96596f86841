"""Which weightings to branch into, and what their scores say about each objective.

A hypergradient is the effect of a very small change of the weights, and the noise of training hides it. A branch can
change them as far as the simplex allows: the effect grows with the change, the noise does not. Designs are those of
experiments with mixtures (Scheffé 1958): vertices, all but one, half of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tapweight.checks import number, whole


def vertices(size: int) -> Tensor:
    """(K, K): each of K objectives alone, K ≥ 1."""
    whole("size", size, 1)
    return torch.eye(size, dtype=torch.float64)


def leave_one_out(size: int) -> Tensor:
    """(K, K): all of K ≥ 2 objectives but one, with equal weights."""
    whole("size", size, 2)
    return (1 - torch.eye(size, dtype=torch.float64)) / (size - 1)


def halves(size: int) -> Tensor:
    """(K, K): half of the weight on one of K ≥ 2 objectives, the rest on the others alike."""
    whole("size", size, 2)
    eye = torch.eye(size, dtype=torch.float64)
    return eye / 2 + (1 - eye) / (2 * (size - 1))


DESIGNS: dict[str, Callable[[int], Tensor]] = {
    "vertices": vertices,
    "leave-one-out": leave_one_out,
    "halves": halves,
}


@dataclass(frozen=True)
class Effects:
    """What each objective's share does to the score, and how far that can be trusted.

    Attributes:
        values: (K,) slopes of the score in the weights, less their mean; positive is good.
        per_replicate: (R, K), the same from each replicate (random seed) alone; from each reading, see `pooled`.
        ratio: F, the variance of the effects between objectives over that within (replicates); NaN with one replicate.
        shrinkage: max(0, 1 − 1/F), the share of the variance that is signal. One replicate cannot tell: 1, or how
            far its readings agree, see `pooled`.
    """

    values: Tensor
    per_replicate: Tensor
    ratio: float
    shrinkage: float

    @property
    def flat(self) -> bool:
        """Is nothing left once the noise is taken off?"""
        return self.shrinkage == 0.0 or float(self.values.norm()) == 0.0


def effects(design: Tensor, scores: Tensor) -> Effects:
    """Slopes by least squares of scores (R, D) of R replicates on the weightings of a design (D, K), K ≥ 2.

    A replicate's own level is taken off. The design must tell all objectives apart: rank K − 1 about its mean.

    Raises:
        ValueError: shapes that do not fit, a design of lower rank, or a number that is not finite.
    """
    design, scores = design.double(), scores.double()
    if design.ndim != 2 or design.shape[1] < 2 or not bool(torch.isfinite(design).all()):
        raise ValueError(f"a design is (D, K) finite numbers for K ≥ 2 objectives, not of shape {tuple(design.shape)}")
    if scores.ndim != 2 or scores.shape[1] != len(design) or not len(scores):
        raise ValueError(f"scores of shape {tuple(scores.shape)} do not fit (replicates, {len(design)} weightings)")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("a branch's score is not finite")
    size = design.shape[1]
    centred = design - design.mean(0)
    if int(torch.linalg.matrix_rank(centred)) < size - 1:
        raise ValueError("the design cannot tell all objectives apart")
    each = (torch.linalg.pinv(centred) @ (scores - scores.mean(1, keepdim=True)).T).T
    return _over_replicates(each - each.mean(1, keepdim=True))


def _over_replicates(each: Tensor) -> Effects:
    """The mean of (R, K) centred effects, and how much of it is signal."""
    values, (count, size) = each.mean(0), each.shape
    if count == 1:
        return Effects(values, each, float("nan"), 1.0)
    between = count * float(values.square().sum()) / (size - 1)
    within = float((each - values).square().sum()) / ((count - 1) * (size - 1))
    ratio = between / within if within > 0 else float("inf")
    return Effects(values, each, ratio, max(0.0, 1 - 1 / ratio) if ratio > 0 else 0.0)


def pooled(design: Tensor, readings: Tensor) -> Effects:
    """Effects from several readings (R, N, D) of each branch, R replicates, N readings, on a design (D, K).

    Readings have scales of their own (a loss, a metric), and each sees another part of what matters: a replicate's
    effects are the mean over readings of its effects at unit length, so that readings which contradict each other
    count little. A reading that is the same for every branch says nothing and is left out, where another speaks.
    The readings of one replicate share the noise of its training, so they are no test of it; trust is then the length
    of the mean of their directions (1 where they agree, N^-1/2 where they have nothing to do with each other), and 0
    where they cancel: where that length is below 1/N, a single reading's part in it.

    Raises:
        ValueError: as `effects`.
    """
    if readings.ndim != 3 or not readings.shape[1]:
        raise ValueError(f"readings have the shape (replicates, readings, weightings), not {tuple(readings.shape)}")
    each = torch.stack([effects(design, readings[:, n]).per_replicate for n in range(readings.shape[1])])
    lengths = each.norm(dim=2, keepdim=True)
    telling = (lengths > 0).all(1).squeeze(1)  # in every replicate
    if bool(telling.any()):
        each, lengths = each[telling], lengths[telling]
    units = each / lengths.clamp_min(torch.finfo(each.dtype).tiny)  # (N, R, K)
    if len(readings) > 1:
        return _over_replicates(units.mean(0))
    directions = units[:, 0]
    values = directions.mean(0)
    length = min(float(values.norm()), 1.0)
    return Effects(values, directions, float("nan"), length if length * len(directions) > 1 - 1e-9 else 0.0)


def weights_of(found: Effects, reach: float = 0.4) -> Tensor:
    """Weights (K,): the point of the simplex nearest to 1/K + reach · shrinkage · √(1 − 1/K) · effects at unit length.

    √(1 − 1/K) is the way from the centre to a vertex. That point is the best one of a linear model less a price of the
    squared distance from the centre: along the slopes inside, and on the simplex's faces where they lead outside, so
    that one objective far worse than the others does not end the step for all. A softmax of the effects bends their
    direction: it stretches the largest and levels the rest. Where the estimate is within its noise weights stay equal.

    Raises:
        ValueError: a reach that is negative or not finite.
    """
    number("reach", reach)
    size = len(found.values)
    centre = torch.full_like(found.values, 1 / size)
    if found.flat:
        return centre
    length = reach * found.shrinkage * math.sqrt(1 - 1 / size)
    return on_simplex(centre + length * found.values / found.values.norm())


def on_simplex(point: Tensor) -> Tensor:
    """The nearest point (K,) of the simplex: a shift of all coordinates, cut at 0 (Held et al. 1974)."""
    ordered = point.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(point) + 1, dtype=point.dtype, device=point.device)
    return (point - excess[ordered > excess][-1]).clamp_min(0.0)


def metasmoothness(start: Tensor, once: Tensor, twice: Tensor) -> float:
    """Ŝ in [−1, 1] from parameters (p,) after three runs with the weights moved by 0, δ and 2δ; 1 is smooth.

    Ŝ = Σ_j (d_j / ‖d‖₁) sign(θ_δ − θ_0)_j sign(θ_2δ − θ_δ)_j with d = |θ_2δ − θ_0|: do parameters go on in the
    direction in which they set out? Near 0 a derivative through the run says nothing about a finite change
    (Engstrom et al. 2025, arXiv 2503.13751). NaN where nothing moved.
    """
    if not start.shape == once.shape == twice.shape:
        raise ValueError(f"three runs have as many parameters, not {start.numel()}, {once.numel()}, {twice.numel()}")
    moved = (twice - start).abs()
    agree = (once - start).sign() * (twice - once).sign()
    total = float(moved.sum())
    return float((moved * agree).sum()) / total if total > 0 else float("nan")
