"""META-TARTAN: an objective gains where its gradient points the way of the validation loss's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class Tartan(OnlineSearch):
    """w = softmax(α), α_i += η cos(∇ℓ_i, ∇ℓ_valid) on the encoder.

    Dery, Michel, Talwalkar, Neubig, "Should We Be Pre-training? An Argument for End-task Aware Training as an
    Alternative", ICLR 2022, arXiv 2109.07437. The validation gradient comes from a head of its own, here one that is
    solved on the train split. There the downstream loss is one of the objectives; here all are self-supervised.

    Attributes:
        lr: η. There 0.01, with thousands of steps; a run of hundreds needs more to get anywhere.
    """

    name: ClassVar[str] = "tartan"
    summary: ClassVar[str] = "softmax weights moved by cosines with the valid gradient (META-TARTAN, Dery et al. 2022)"
    needs: ClassVar[tuple[Need, ...]] = ("gradients", "valid_gradient")

    every: int = 5
    lr: float = 0.1

    def begin(self, run: OnlineRun) -> State:
        return {"logits": torch.zeros(run.problem.num_objectives, dtype=torch.float64)}

    def weigh(self, state: State, look: Look) -> Tensor:
        weights = state["logits"].softmax(0)
        cosines = F.cosine_similarity(look.gradients, look.valid_gradient()[None], dim=1)
        state["logits"] = state["logits"] + self.lr * cosines.cpu().double()
        return weights
