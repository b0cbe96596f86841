"""Objective weights under DistributedDataParallel: `torchrun --nproc-per-node 2 examples/data_parallel.py`.

Every process gives its own rows; the hypergradient is that of all of them, and the weights are the same on each.
"""

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import tapweight


class Net(nn.Module):
    def __init__(self, encoder: nn.Module, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def losses(net: Any, x: Tensor) -> Tensor:  # call the module that you are handed, as DistributedDataParallel needs it
    error = (net(x) - torch.cat([x, task(x)], 1)).square().mean(0)
    return torch.stack([error[:8].mean(), error[8]])


def task(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, 1:2]


def task_loss(net: Any, x: Tensor) -> Tensor:
    return (net(x) - task(x)).square().mean()


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)  # the same model everywhere
    encoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    nets = [DistributedDataParallel(net) for net in (Net(encoder, 9), Net(copy.deepcopy(encoder), 1))]
    weights = tapweight.ObjectiveWeights(["reconstruct", "product"])
    levels = tapweight.Pretraining(nets[0], losses), tapweight.Finetuning(nets[1], task_loss, gamma=0.1)
    adams = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in nets]
    learner = tapweight.Learner(tapweight.WeightLearner(*levels, weights, warmup=20), *adams)
    torch.manual_seed(1 + dist.get_rank())  # rows of its own
    train, valid = torch.randn(64, 8), torch.randn(64, 8)
    for _ in range(100):
        learner.step(torch.randn(64, 8), train, valid)
    print(f"rank {dist.get_rank()}:", dict(zip(weights.names, weights.values.tolist(), strict=True)), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
