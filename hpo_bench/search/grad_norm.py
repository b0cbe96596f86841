"""GradNorm: gradients of one length, longer where a loss has fallen less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hpo_bench.search.learned import Learned
from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class GradNorm(OnlineSearch):
    """Minimises Σ |w_i ‖∇ℓ_i‖ − Ḡ r_i^α| in w, where Ḡ is the mean of w_i ‖∇ℓ_i‖ and r_i = (ℓ_i/ℓ_i⁰) / their mean.

    Chen et al., "GradNorm", ICML 2018, arXiv 1711.02257. Ḡ r_i^α is a constant of the derivative, as there. The norms
    are those on the whole shared encoder.

    Attributes:
        alpha: α, the paper's 1.5.
        lr: of Adam on w, the paper's 0.025; w is brought back to the sum K.
    """

    name: ClassVar[str] = "gradnorm"
    summary: ClassVar[str] = "gradients balanced by training rate (GradNorm, Chen et al. 2018)"
    needs: ClassVar[tuple[Need, ...]] = ("gradients",)

    alpha: float = 1.5
    lr: float = 0.025

    def begin(self, run: OnlineRun) -> State:
        return {"weights": Learned(torch.ones(run.problem.num_objectives), self.lr), "first": None}

    def weigh(self, state: State, look: Look) -> Tensor:
        losses, norms = look.losses.cpu().double(), look.gradients.norm(dim=1).cpu().double()
        if state["first"] is None:
            state["first"] = losses.clamp(min=1e-12)
        learned = state["weights"]
        current = learned.values.clone()
        learned.descend(slope(current, norms, losses / state["first"], self.alpha))
        learned.values.clamp_(min=1e-6)
        learned.values.mul_(len(current) / learned.values.sum())
        return current


def slope(weights: Tensor, norms: Tensor, rate: Tensor, alpha: float) -> Tensor:
    """∂/∂w Σ |w_i n_i − Ḡ r_i^α| (K,) with Ḡ r_i^α held constant; `rate` is ℓ_i/ℓ_i⁰."""
    target = (weights * norms).mean() * (rate / rate.mean()) ** alpha
    return norms * torch.sign(weights * norms - target)
