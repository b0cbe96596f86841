"""Objective weights for any module with three losses and one task: `python examples/own_loop.py`."""

import copy

import torch
from torch import nn

import tapweight

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, encoder: nn.Module, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, outputs)  # "encoder" is the name that both levels share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


def self_supervised(net: nn.Module, x: torch.Tensor) -> torch.Tensor:  # (K,): reconstruct, a relevant sum, pure noise
    targets = torch.cat([x, (x[:, :2] * x[:, 2:4]).sum(1, keepdim=True), 3 * torch.randn(len(x), 1)], dim=1)
    error = (net(x) - targets).square()
    return torch.stack([error[:, :8].mean(), error[:, 8].mean(), error[:, 9].mean()])


def task_loss(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.mse_loss(net(batch[0]), batch[1])


def labelled(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, 8)
    return x, (x[:, :2] * x[:, 2:4]).sum(1, keepdim=True)


encoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
pretrained, finetuned = Net(encoder, 10), Net(copy.deepcopy(encoder), 1)
train, valid = labelled(64), labelled(256)
weights = tapweight.ObjectiveWeights(["reconstruct", "product", "noise"], lr=0.05)
learner = tapweight.Learner(
    tapweight.Pretraining(pretrained, self_supervised),
    tapweight.Finetuning(finetuned, task_loss, gamma=0.1),
    weights,
    torch.optim.Adam(pretrained.parameters(), lr=1e-3),
    torch.optim.Adam(finetuned.parameters(), lr=1e-3),
    every=5,
    warmup=50,
)
for step in range(1, 1001):
    learner.step(torch.randn(128, 8), train, valid)
    if step % 200 == 0:
        print(step, {name: round(float(w), 3) for name, w in zip(weights.names, weights.values, strict=True)})
