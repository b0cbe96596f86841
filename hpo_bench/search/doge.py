"""DoGE: weights in proportion to the exponential of how much an objective's step helps the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class Doge(OnlineSearch):
    """W_i = clip(η ⟨∇ℓ_i, ∇ℓ_valid⟩ / mean‖∇ℓ‖, 0, 5η); w ← softmax(log w + W/μ); the answer is the mean over time.

    Fan, Pagliardini, Jaggi, "DoGE: Domain Reweighting with Generalization Estimation", ICML 2024, arXiv 2310.15393, in
    its form for a target of its own; η is the rate of pretraining.

    Attributes:
        mu: μ of the mirror step; theirs is 0.01.
    """

    name: ClassVar[str] = "doge"
    summary: ClassVar[str] = "mirror steps by alignment with the valid gradient (DoGE, Fan et al. 2023)"
    needs: ClassVar[tuple[Need, ...]] = ("gradients", "valid_gradient")
    average_from: ClassVar[float] = 0.0

    every: int = 5
    mu: float = 0.01

    def begin(self, run: OnlineRun) -> State:
        return {"logits": torch.zeros(run.problem.num_objectives, dtype=torch.float64)}

    def weigh(self, state: State, look: Look) -> Tensor:
        gradients, rate = look.gradients, look.problem.protocol.rate(look.number)
        gain = alignment(gradients @ look.valid_gradient(), gradients.norm(dim=1), rate).cpu().double()
        state["logits"] = (state["logits"] + gain / self.mu).log_softmax(0)
        return state["logits"].softmax(0)


def alignment(products: Tensor, norms: Tensor, rate: float) -> Tensor:
    """W (K,) from ⟨∇ℓ_i, ∇ℓ_valid⟩ (K,) and ‖∇ℓ_i‖ (K,)."""
    return (rate * products / norms.mean().clamp(min=1e-30)).clamp(0, 5 * rate)
