"""Objective weights beside SimSiam, whose loss stops gradients at its target: `python examples/simsiam.py`.

What is detached is a constant to the hypergradient, as it is to the training step (docs/hypergradients.md).
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tapweight


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32))
        self.predictor = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 32))
        self.decoder = nn.Linear(32, 16)


class Tuned(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, 2)


def losses(model: Any, x: Tensor) -> Tensor:
    """Agreement of two noisy views (SimSiam), and reconstruction."""
    one, two = (model.encoder(x + 0.1 * torch.randn_like(x)) for _ in range(2))
    agreement = [
        -F.cosine_similarity(model.predictor(a), b.detach(), dim=1).mean() for a, b in ((one, two), (two, one))
    ]
    return torch.stack([torch.stack(agreement).mean(), (model.decoder(one) - x).square().mean()])


def loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model.head(model.encoder(batch[0])), batch[1])


torch.manual_seed(0)
model = SimSiam()
tuned = Tuned(copy.deepcopy(model.encoder))
x = torch.randn(256, 16)
rows = x, (x[:, :2].prod(1) > 0).long()
train, valid = [tuple(part[half] for part in rows) for half in (slice(128), slice(128, None))]
weights = tapweight.ObjectiveWeights(["agreement", "reconstruction"])
levels = tapweight.Pretraining(model, losses), tapweight.Finetuning(tuned, loss, gamma=0.1)
adams = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (model, tuned)]
learner = tapweight.Learner(tapweight.WeightLearner(*levels, weights, warmup=50), *adams)
update = None
for _ in range(200):
    update = learner.step(torch.randn(128, 16), train, valid).update or update
assert update is not None
values = {name: round(float(w), 2) for name, w in zip(weights.names, weights.values, strict=True)}
print(f"derivatives by {update.last_step};", values)
