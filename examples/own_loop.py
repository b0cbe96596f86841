"""Objective weights for any module with three losses and one task: `python examples/own_loop.py`.

Weights move only where the hypergradients stand out of their noise: here "product" gets nearly everything; with
torch.manual_seed(1) the evidence is thin, and "product" and "noise" get 0.39 each.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

import tapweight


class Net(nn.Module):
    def __init__(self, encoder: nn.Module, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, outputs)  # "encoder" is the name that both levels share


def losses(net: Any, x: Tensor) -> Tensor:  # (K,): reconstruct x, a sum that the task needs too, pure noise
    error = (net.head(net.encoder(x)) - torch.cat([x, task(x), 3 * torch.randn(len(x), 1)], 1)).square().mean(0)
    return torch.stack([error[:8].mean(), error[8], error[9]])


def task(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, 2:3] + x[:, 1:2] * x[:, 3:4]


def task_loss(net: Any, x: Tensor) -> Tensor:
    return (net.head(net.encoder(x)) - task(x)).square().mean()


torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
pretrained, tuned, data = Net(encoder, 10), Net(copy.deepcopy(encoder), 1), torch.randn(320, 8)
weights = tapweight.ObjectiveWeights(["reconstruct", "product", "noise"])
adams = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (pretrained, tuned)]
levels = tapweight.Pretraining(pretrained, losses), tapweight.Finetuning(tuned, task_loss, gamma=1.0)
learner = tapweight.Learner(tapweight.WeightLearner(*levels, weights, every=5), *adams)
for _ in range(1000):
    learner.step(torch.randn(128, 8), data[:64], data[64:])
print({name: round(float(w), 2) for name, w in zip(weights.names, weights.values, strict=True)})
