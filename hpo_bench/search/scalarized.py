"""Weightings of the losses alone, through `torchjd.scalarization`: no gradients, no validation signal.

None of them can know that an objective is worthless: the task's loss does not enter.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from hpo_bench.search.online import Need, OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State

if TYPE_CHECKING:
    from torchjd.scalarization import Scalarizer


class Scalarization:
    """A scalarizer of torchjd with what moves it.

    Its state is a function of the losses that it has seen, so they are what is saved, and they are shown to it again.
    """

    def __init__(self, scalarizer: Scalarizer, lr: float, epoch: int) -> None:
        self.scalarizer: Any = scalarizer  # some have `update` or `step` besides
        self.epoch = epoch
        own = [] if hasattr(scalarizer, "update") else list(scalarizer.parameters())
        self._optimizer = torch.optim.Adam(own, lr=lr) if own else None
        self._seen: list[Tensor] = []
        self._after: list[Tensor] = []

    def weights(self, losses: Tensor) -> Tensor:
        """∂ scalarization / ∂ losses (K,), after which its own parameters have moved."""
        values = losses.detach().cpu().float().requires_grad_()
        self._seen.append(values.detach().clone())
        if self._optimizer is not None:
            self._optimizer.zero_grad()
        self.scalarizer(values).backward()
        if self._optimizer is not None:
            self._optimizer.step()
        if len(self._seen) % self.epoch == 0 and hasattr(self.scalarizer, "step"):
            self.scalarizer.step()
        assert values.grad is not None
        return values.grad

    def update(self, losses: Tensor) -> None:
        """Show it the losses (K,) after the step."""
        self._after.append(losses.detach().cpu().float().clone())
        self.scalarizer.update(self._after[-1])

    def state_dict(self) -> dict[str, Any]:
        return {"seen": [row.tolist() for row in self._seen], "after": [row.tolist() for row in self._after]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for number, row in enumerate(state["seen"]):
            self.weights(torch.tensor(row))
            if state["after"]:
                self.update(torch.tensor(state["after"][number]))


@dataclass
class Scalarized(OnlineSearch):
    """The weight of a loss is the scalarization's derivative in it."""

    @abstractmethod
    def make(self, size: int) -> Scalarizer:
        """For K = `size` objectives."""

    def begin(self, run: OnlineRun) -> State:
        made = Scalarization(self.make(run.problem.num_objectives), getattr(self, "lr", 0.0), getattr(self, "epoch", 1))
        return {"scalarization": made}

    def weigh(self, state: State, look: Look) -> Tensor:
        return state["scalarization"].weights(look.losses)


@dataclass
class Uncertainty(Scalarized):
    """Σ ℓ_i / (2 e^{s_i}) + s_i / 2, the log-variances s learned along.

    Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, arXiv 1705.07115.

    Attributes:
        lr: of Adam on s.
    """

    name: ClassVar[str] = "uncertainty"
    summary: ClassVar[str] = "homoscedastic uncertainty of each loss (Kendall et al. 2018, torchjd)"

    lr: float = 0.025

    def make(self, size: int) -> Scalarizer:
        from torchjd.scalarization import UW

        return UW(size)


@dataclass
class ImtlL(Scalarized):
    """Σ e^{s_i} ℓ_i − s_i, the scales s learned along.

    Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021, IMTL-L. Its weights are those of `uncertainty`
    where s moves at the same rate.
    """

    name: ClassVar[str] = "imtl_l"
    summary: ClassVar[str] = "losses scaled to one size (IMTL-L, Liu et al. 2021, torchjd)"

    lr: float = 0.025

    def make(self, size: int) -> Scalarizer:
        from torchjd.scalarization import IMTLL

        return IMTLL(size)


@dataclass
class Dwa(Scalarized):
    """K · softmax((ℓ_{t−1} / ℓ_{t−2}) / T), ℓ_t the mean loss of an epoch.

    Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, arXiv 1803.10704.

    Attributes:
        epoch: steps whose losses are averaged: continued pretraining has no epochs of its own.
        temperature: T; the paper's is 2.
    """

    name: ClassVar[str] = "dwa"
    summary: ClassVar[str] = "dynamic weight average: slow losses get more (Liu et al. 2019, torchjd)"

    epoch: int = 10
    temperature: float = 2.0

    def make(self, size: int) -> Scalarizer:
        from torchjd.scalarization import DWA

        return DWA(self.temperature)


@dataclass
class Famo(Scalarized):
    """c Σ z_i log ℓ_i, z = softmax(ξ), ξ moved by how much each loss fell in the step.

    Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, arXiv 2306.03792.

    Attributes:
        lr, decay: of Adam on ξ; the paper's are 0.025 and 1e-3.
    """

    name: ClassVar[str] = "famo"
    summary: ClassVar[str] = "all losses fall at one rate (FAMO, Liu et al. 2023, torchjd)"
    needs: ClassVar[tuple[Need, ...]] = ("after",)

    lr: float = 0.025
    decay: float = 1e-3

    def make(self, size: int) -> Scalarizer:
        from torchjd.scalarization import FAMO

        return FAMO(size, lr=self.lr, weight_decay=self.decay)

    def observe(self, state: State, look: Look) -> None:
        state["scalarization"].update(look.after())
