"""Levels that record their passes train and learn as those that do not: with a stand-in, and as CUDA graphs."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hpo_bench.core.captured import CapturedStep, CudaGraphs
from hpo_bench.testing.devices import device_under_test
from tapweight import Finetuning, Implicit, Learner, ObjectiveWeights, Pretraining, WeightLearner, solvers

DEVICE = device_under_test()


class Net(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Dropout(0.2))
        self.head = nn.Linear(7, outputs)

    def forward(self, x):
        return self.head(self.encoder(x))


def losses(module, batch):
    x, y = batch
    out = module(x)
    return torch.stack([(out[:, 0] - y).square().mean(), (out[:, 1] + y).square().mean(), out[:, 2].square().mean()])


def task_loss(module, batch):
    x, y = batch
    return F.mse_loss(module(x)[:, 0], y)


def batches(seed, size, count):
    source = torch.Generator().manual_seed(seed)
    made = [(torch.randn(size, 5, generator=source), torch.randn(size, generator=source)) for _ in range(count)]
    return [tuple(part.to(DEVICE, torch.float64) for part in one) for one in made]


class Recordings:
    """Makes captured steps: of CUDA graphs where CUDA is, of a stand-in that runs the same closure again elsewhere."""

    def __init__(self):
        self.made = []
        self.capture = CudaGraphs() if DEVICE.type == "cuda" else lambda run: run

    def __call__(self, body):
        self.made.append(CapturedStep(body, self.capture))
        return self.made[-1]


def trained(capture, *, rate=None, steps=12, accumulate=1, levels=3, **options):
    torch.manual_seed(0)
    module = Net(5, 3).to(DEVICE, torch.float64)
    tuned = copy.deepcopy(module)
    if levels == 2:
        tuned.encoder = module.encoder
    pretraining = Pretraining(module, losses, capture=capture)
    finetuning = Finetuning(tuned, task_loss, gamma=0.1, capture=capture)
    weights = ObjectiveWeights(3, lr=0.1, parametrisation="mirror")
    estimator = Implicit(batches=1, levels=levels, **options)
    capturable = DEVICE.type == "cuda"
    own = list(tuned.head.parameters()) if levels == 2 else list(tuned.parameters())
    optimizers = [torch.optim.AdamW(each, lr=1e-2, capturable=capturable) for each in (list(module.parameters()), own)]
    learner = Learner(
        WeightLearner(pretraining, finetuning, weights, estimator=estimator, every=2),
        *optimizers,
        accumulate=accumulate,
    )
    torch.manual_seed(1)
    seen = []
    data = zip(batches(1, 16, steps), batches(2, 8, steps), batches(3, 8, steps), strict=True)
    for number, given in enumerate(data):
        if rate is not None:
            optimizers[0].param_groups[0]["lr"] = rate(number)
        step = learner.step(*given)
        seen += [step.losses, step.train_loss[None]]
        if step.update is not None:
            seen.append(step.update.gradient)
    states = [*module.state_dict().values(), *tuned.state_dict().values(), weights.values]
    return [value.detach().double().cpu() for value in (*seen, *states)]


def close(one, other, relative=1e-9):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(a, b, rtol=relative, atol=relative)


@pytest.mark.parametrize(
    ("options", "relative"),
    [
        ({"last_step": "jvp"}, 1e-9),
        ({"last_step": "forward"}, 1e-5),  # its step is rounded otherwise
        ({"last_step": "jvp", "pretrain_solver": solvers.ConjugateGradient(3, damping=10.0)}, 1e-9),
        ({"last_step": "jvp", "finetune_solver": solvers.ConjugateGradient(3, damping=10.0)}, 1e-9),
        ({"last_step": "jvp", "levels": 2}, 1e-9),
        ({"last_step": "gradients"}, 1e-9),
    ],
    ids=["jvp", "forward", "pretraining solved", "fine-tuning solved", "joint", "gradients"],
)
def test_recorded_levels_learn_what_others_learn(options, relative):
    recordings = Recordings()
    close(trained(None, **options), trained(recordings, **options), relative)
    assert sum(step.replays for step in recordings.made) > 20
    assert not [step.reason for step in recordings.made if step.reason]


def test_gradients_accumulate_alike():
    close(trained(None, accumulate=2), trained(Recordings(), accumulate=2))


def test_a_rate_that_changes_is_obeyed():
    def rate(step):
        return 1e-2 if step < 6 else 1e-3

    close(trained(None, rate=rate), trained(Recordings(), rate=rate))


def test_gradients_that_somebody_else_freed_are_found_again():
    recordings = Recordings()
    torch.manual_seed(0)
    module = Net(5, 3).to(DEVICE, torch.float64)
    tuned = copy.deepcopy(module)
    optimizers = [torch.optim.SGD(each.parameters(), lr=1e-2) for each in (module, tuned)]
    levels = (
        Pretraining(module, losses, capture=recordings),
        Finetuning(tuned, task_loss, gamma=0.1, capture=recordings),
    )
    learner = Learner(WeightLearner(*levels, ObjectiveWeights(3), every=100), *optimizers)
    data = batches(1, 16, 1)[0]
    for _ in range(8):
        before = module.head.bias.clone()
        learner.step(data, data, data)
        assert not torch.equal(before, module.head.bias)
        for parameter in module.parameters():
            parameter.grad = None
