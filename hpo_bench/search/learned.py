"""Numbers that an online method moves by Adam, saved with their moments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Learned:
    """`values` (K,), float64 on the CPU, and the optimiser that moves them."""

    def __init__(self, start: Tensor, lr: float) -> None:
        self.values = start.detach().cpu().double().clone()
        self._optimizer = torch.optim.Adam([self.values], lr=lr)

    def descend(self, gradient: Tensor) -> None:
        """One step against a gradient (K,)."""
        self.values.grad = gradient.detach().cpu().double()
        self._optimizer.step()
        self.values.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values.clone(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values.copy_(state["values"])
        self._optimizer.load_state_dict(state["optimizer"])
