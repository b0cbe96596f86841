"""GraP: the combination of normalised gradients that is best aligned with the downstream gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State

DECAY, FIRST, PATIENCE = 0.9, 10, 5  # of the averages; looks averaged evenly; useless looks until weights are equal


@dataclass
class GraP(OnlineSearch):
    """w = argmax pᵀw subject to wᵀCw = 1, w ≥ 0; the encoder's step is Σ w_i ∇ℓ_i / n_i.

    p_i is the cosine of ∇ℓ_i and the downstream gradient, C_ij that of ∇ℓ_i and ∇ℓ_j, n_i = ‖∇ℓ_i‖, all running means.
    "When Losses Align", arXiv 2605.07756, the closed form with the sign constraint. The downstream gradient is that of
    the validation loss under a head solved on the train split. Where no p_i is positive the step is skipped there;
    here the weights stay, since a schedule cannot skip, and become equal after five such looks, as there.
    """

    name: ClassVar[str] = "grap"
    summary: ClassVar[str] = "gradients best aligned with the downstream one, in closed form (GraP, arXiv 2605.07756)"
    needs: ClassVar[tuple[Need, ...]] = ("gradients", "valid_gradient")

    every: int = 5

    def begin(self, run: OnlineRun) -> State:
        return {"mean": None, "looks": 0, "useless": 0}

    def weigh(self, state: State, look: Look) -> Tensor:
        gradients = look.gradients
        norms = gradients.norm(dim=1)
        units = F.normalize(gradients, dim=1)
        aligned = units @ F.normalize(look.valid_gradient(), dim=0)
        seen = torch.cat([norms[:, None], aligned[:, None], units @ units.T], dim=1).cpu().double()  # (K, 2 + K)
        state["looks"] += 1
        share = max(1 / state["looks"], 1 - DECAY) if state["looks"] <= FIRST else 1 - DECAY
        state["mean"] = seen if state["mean"] is None else (1 - share) * state["mean"] + share * seen
        length, p, cosines = state["mean"][:, 0], state["mean"][:, 1], state["mean"][:, 2:]
        found = best_aligned(p.numpy(), cosines.numpy())
        state["useless"] = 0 if found.any() else state["useless"] + 1
        if state["useless"] >= PATIENCE:
            return torch.ones(len(p), dtype=torch.float64)
        return torch.from_numpy(found) / length.clamp(min=1e-30)  # all 0: the weights stay


def best_aligned(p: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """argmax pᵀw over w ≥ 0 with wᵀCw = 1, (K,); zeros where no p_i is positive.

    The maximum of pᵀw / √(wᵀCw) over a cone lies along the minimum of ½wᵀCw − pᵀw on it, which is least squares.
    """
    from scipy.optimize import nnls

    if not (p > 0).any():
        return np.zeros_like(p)
    root = np.linalg.cholesky(cosines + 1e-6 * np.eye(len(p)))  # C = R Rᵀ
    found = nnls(root.T, np.linalg.solve(root, p))[0]
    length = np.sqrt(found @ cosines @ found)
    return found / length if length > 0 else np.zeros_like(p)
