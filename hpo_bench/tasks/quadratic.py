"""A closed-form problem with a known optimum: the fast real thing for contract tests and for trying a method.

The encoder is one vector θ (D,). Objective i is ½‖θ − c_i‖² plus a small noise in the gradient, so training under
weights λ ends at θ*(λ) = Σ λ_i c_i. The label of x is ⟨x, w⟩ + noise with w = 0.7 c_0 + 0.3 c_1, and the embedding of
x is ⟨x, θ⟩, so the valid error is smallest at λ = (0.7, 0.3, 0): the third objective is harmful.

With `network`, x goes through batch norm and dropout before θ, and objective i is the mean of ½⟨x, θ − c_i⟩² over rows:
nearly the same problem, with buffers and random numbers that a method must keep in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.data.digest import digest_of
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, LoadedTask, Metric, Task
from hpo_bench.tasks.sending import bounds

OPTIMUM = (0.7, 0.3, 0.0)
# Centres of size 0.1: within the reach of some hundred Adam steps at a rate of 1e-3.
_WIDTH, _ROWS, _SCALE, _NOISE = 8, 240, 0.1, 0.005
_COPIES = 64  # of the one feature, so that a head learns its scale within an epoch at the same rate


def _rmse(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.sqrt(np.mean((scores - labels) ** 2)))


class _Encoder(nn.Module):
    def __init__(self, width: int, network: bool) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(width))
        self.layers = nn.Sequential(nn.BatchNorm1d(width), nn.Dropout(0.1)) if network else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.layers(x) @ self.theta).unsqueeze(1).expand(-1, _COPIES)


class _Model(nn.Module):
    def __init__(self, width: int, network: bool) -> None:
        super().__init__()
        self.encoder = _Encoder(width, network)


class QuadraticTask(Task):
    """K = 3 objectives on a vector of 8 numbers; metric rmse."""

    name = "quadratic"
    objectives = ("signal", "partial", "harmful")
    metric = Metric("rmse", higher_is_better=False, compute=_rmse)
    embedding_width = _COPIES
    base_id = "none"

    def __init__(
        self, train: Labelled, valid: Labelled, centres: Tensor, device: torch.device, network: bool = False
    ) -> None:
        self.train, self.valid, self.centres, self.device, self.network = train, valid, centres, device, network

    def build_model(self) -> nn.Module:
        return _Model(self.centres.shape[1], self.network).to(self.device)

    def draw_batch(self, size: int, generator: torch.Generator) -> Tensor:
        shape = self.centres.shape
        if self.network:
            return torch.randn(size, shape[1], generator=generator, device=self.device)
        return _NOISE * torch.randn(shape, generator=generator, device=self.device) / size**0.5

    def draw_parts(self, size: int, most: int, generator: torch.Generator) -> list[Tensor]:
        if self.network:
            return super().draw_parts(size, most, generator)
        # The noise is that of the mean over the rows already: every part carries it.
        return [self.draw_batch(size, generator)] * len(bounds(size, most))

    def objective_losses(self, model: nn.Module, batch: Tensor) -> Tensor:
        if self.network:
            encoder: Any = model.encoder
            return ((encoder(batch)[:, :1] - batch @ self.centres.T) ** 2).mean(0) / 2
        theta: Tensor = model.encoder.theta  # type: ignore[union-attr,assignment]
        return ((theta - self.centres - batch) ** 2).sum(1) / 2

    def embed(self, encoder: nn.Module, inputs: Any, index: Tensor) -> Tensor:
        return encoder(inputs[index])

    def task_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = ~torch.isnan(labels)
        return ((outputs - labels.nan_to_num()) ** 2 * known).sum() / known.sum().clamp(min=1)

    def decode(self, outputs: Tensor) -> Tensor:
        return outputs

    def solve_probe(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        design = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
        ridge = 1e-3 * torch.eye(design.shape[1], dtype=torch.float64, device=design.device)
        solution = torch.linalg.solve(design.T @ design + ridge, design.T @ labels.double()).to(features.dtype)
        return solution[:-1].T, solution[-1]


def load(device: torch.device, data_seed: int = 0, network: bool = False, **options: Any) -> LoadedTask:
    """The problem whose numbers come from `data_seed`; `network`: with batch norm and dropout."""
    if options:
        raise UserError(f"the quadratic task has no option {', '.join(options)}", "leave it out")
    draw = torch.Generator().manual_seed(data_seed)
    centres = _SCALE * torch.randn(3, _WIDTH, generator=draw)
    truth = torch.tensor(OPTIMUM) @ centres
    x = torch.randn(_ROWS, _WIDTH, generator=draw)
    y = x @ truth + 0.1 * _SCALE * torch.randn(_ROWS, generator=draw)

    def split(name: str, start: int, stop: int) -> Labelled:
        # Copies: a view would lead from the train labels to the test labels, which lie in the same storage.
        return Labelled(name, x[start:stop].clone().to(device), y[start:stop, None].clone().to(device))

    task = QuadraticTask(split("train", 0, 80), split("valid", 80, 160), centres.to(device), device, network)
    content = {
        "table": digest_of(x.numpy(), y.numpy()),
        "split": digest_of(np.array([0, 80, 160, 240])),
        "corpus": digest_of(centres.numpy()),
    }
    return LoadedTask(task, split("test", 160, 240), {"source": "closed form", "optimum": list(OPTIMUM)}, content)
