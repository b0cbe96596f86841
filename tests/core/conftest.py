"""A task whose encoder has what the closed form lacks: matrix products, dropout, batch norm."""

import pytest
import torch
from torch import nn

from hpo_bench.tasks.quadratic import QuadraticTask

WIDTH = 8


class NetworkTask(QuadraticTask):
    """The quadratic task's data and labels; the objectives are regressions on a small network's features."""

    embedding_width = WIDTH

    def build_model(self):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = nn.Module()
            model.encoder = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.3))
            model.heads = nn.Linear(WIDTH, 3)
        return model

    def draw_batch(self, size, generator):
        return torch.randn(size, WIDTH, generator=generator)

    def objective_losses(self, model, batch):
        return ((model.heads(model.encoder(batch)) - batch @ self.centres.T) ** 2).mean(0)

    def embed(self, encoder, inputs, index):
        return encoder(inputs[index])


@pytest.fixture
def network(loaded):
    task = loaded.task
    return NetworkTask(task.train, task.valid, task.centres, task.device)


@pytest.fixture
def same_state():
    """Are two nested states equal to the last bit?"""

    def same(a, b):
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        return a == b

    return same
