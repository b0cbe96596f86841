"""How far weights move on noisy hypergradients: as far as their sum can be told from a sum of noise.

Dual averaging with a step that sets itself. With g_s the s-th gradient, less its mean over objectives and over its
running root mean square (decay 0.9), and later ones counting more, since early ones were taken at an encoder long gone,

    logit_i = −lr · z_i · (1 − (trust / t_i)²)₊,   z_i = Σ s g_si / √(Σ s² mean(g_s²)),   t_i = mean / standard error,

the mean that of g_si with weights s. z has no scale (compare AdaGrad's dual averaging: Duchi, Hazan, Singer 2011): a
constant gradient takes it to √(3n/4) after n updates, pure noise keeps it near 1 however long the run, so there is no
rate to tie to the number of updates. The last factor is James and Stein's shrinkage, positive part, objective by
objective: a mean within `trust` standard errors of zero moves nothing, so weights stay at their centre where the
estimate is noise. Logits are computed anew from the sums at every update: what early noise did is taken back later.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEAST_UPDATES = 3  # below, a standard error means nothing
DECAY = 0.9  # of the running mean square


class Evidence:
    """Sums over the gradients so far, and the logits that they bear out; sums (K,) are float64 on the CPU."""

    def __init__(self, k: int, lr: float, trust: float) -> None:
        self.lr, self.trust = lr, trust
        self.n, self.running, self.scale = 0, 0.0, 0.0
        self.sum, self.squares = torch.zeros(k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)

    def logits(self, gradient: Tensor) -> Tensor:
        """Logits (K,) after dF/dλ (K,) was seen."""
        gradient = gradient - gradient.mean()
        self.n += 1
        self.running = DECAY * self.running + (1 - DECAY) * float(gradient.square().mean())
        if self.running == 0.0:
            return torch.zeros_like(gradient)
        gradient = gradient / (self.running / (1 - DECAY**self.n)) ** 0.5
        self.sum, self.squares = self.sum + self.n * gradient, self.squares + self.n * gradient.square()
        self.scale += self.n**2 * float(gradient.square().mean())
        return -self.lr * self.sum / float(self.scale**0.5) * self.trusted

    @property
    def t(self) -> Tensor:
        """Means over their standard errors (K,): 0 before the third update, infinite without noise."""
        if self.n < LEAST_UPDATES:
            return torch.zeros_like(self.sum)
        total = self.n * (self.n + 1) / 2  # of the weights s
        draws = total / ((2 * self.n + 1) / 3)  # (Σ s)² / Σ s²: about 3n/4 of equal weight
        mean = self.sum / total
        variance = (self.squares / total - mean.square()).clamp_min(1e-12)  # in units of the mean square; rounding
        return mean / (variance / (draws - 1)).sqrt()

    @property
    def trusted(self) -> Tensor:
        """The share (K,) of z that moves the weights, from 0 to 1."""
        if self.trust == 0:
            return torch.ones_like(self.sum)
        return (1 - (self.trust / self.t.abs().clamp_min(1e-6)).square()).clamp_min(0)

    def state_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "running": self.running,
            "scale": self.scale,
            "sum": self.sum.clone(),
            "squares": self.squares.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n, self.running, self.scale = int(state["n"]), float(state["running"]), float(state["scale"])
        self.sum, self.squares = state["sum"].clone(), state["squares"].clone()
