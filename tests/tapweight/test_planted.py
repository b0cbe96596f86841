"""The whole alternation on a problem with a planted useless and a planted harmful objective.

The lr of both ways of mirror descent were chosen on these seeds; the default, evidence, was not tuned here. Softmax
with Adam drops both objectives too, but ends further above the best F.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from tapweight_problems import Quadratic, Vector

from tapweight import Finetuning, Implicit, Learner, ObjectiveWeights, Pretraining, WeightLearner, solvers


class Planted(Quadratic):
    """Objectives: two that each know half of the target's coordinates, one that knows nothing, one that knows better.

    The useless one pulls every coordinate to a random point at right angles to the target, the harmful one to the
    target's mirror image.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        rng = np.random.default_rng(self.seed)
        e, p = self.encoder, self.p
        target = rng.choice([-1.0, 1.0], e) * rng.uniform(1.0, 2.0, e)
        for i in range(2):
            known = np.arange(e) % 2 == i
            self.a[i][:e] = np.where(known, target, 0.0)
            self.A[i] = np.diag(np.r_[np.where(known, 4.0, 1.0), np.ones(p - e)])
        stray = rng.standard_normal(e)
        self.a[2][:e] = 3 * (stray - (stray @ target) / (target @ target) * target)
        self.a[3][:e] = -target
        self.A[2] = self.A[3] = np.eye(p)
        self.b[:e] = self.c[:e] = target
        self.c[e:] = self.b[e:]
        self.C = np.eye(self.q)
        self.alpha = np.zeros(4)

    def noisy_levels(self, noise: float) -> tuple[Pretraining, Finetuning]:
        """Targets shaken anew by each batch, as sampling does."""
        A, a = torch.from_numpy(np.stack(self.A)), torch.from_numpy(np.stack(self.a))
        B, C, b, c = (torch.from_numpy(x) for x in (self.B, self.C, self.b, self.c))

        def losses(module, batch):
            d = module.flat() - a - noise * batch
            return torch.einsum("ki,kij,kj->k", d, A, d) / 2

        def loss(module, batch):
            d = module.flat() - (b if module.training else c) - noise * batch
            return d @ (B if module.training else C) @ d / 2

        return (
            Pretraining(Vector(self.encoder, self.theta_head), losses),
            Finetuning(Vector(self.encoder, self.phi_head), loss, gamma=self.gamma),
        )


OPTIONS = {
    "evidence": {},
    "plain": {"parametrisation": "mirror", "lr": 0.4},
    "scaled": {"parametrisation": "mirror", "lr": 0.1, "scaled": True},
}


def planted(seed: int) -> Planted:
    return Planted(seed, k=4, encoder=8, theta_head=2, phi_head=2, gamma=2.0, conditioning=2.0)


@cache
def best_value(seed: int) -> float:
    """The least F on a lattice."""
    problem, steps = planted(seed), 20
    firsts = [w for w in itertools.product(range(steps + 1), repeat=3) if sum(w) <= steps]
    points = [np.array([*w, steps - sum(w)]) / steps for w in firsts]
    points += [np.array([s, 1 - s, 0, 0]) for s in np.linspace(0, 1, 201)]  # finer where the optimum lies
    values = np.array([problem.F(w) for w in points])
    best = points[int(values.argmin())]
    assert best[2] <= 0.02, "the problem must be what its name says"
    assert best[3] <= 0.02
    return values.min()


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        pytest.param(given, seed, id=f"{name}-{seed}")
        for name, given in OPTIONS.items()
        for seed in range(3 if name == "evidence" else 2)
    ],
)
def test_useless_and_harmful_objectives_are_dropped(options, seed):
    problem, least = planted(seed), best_value(seed)
    pretraining, finetuning = problem.noisy_levels(0.2)
    weights = ObjectiveWeights(["first half", "second half", "useless", "harmful"], average_from=70, **options)
    cg = solvers.ConjugateGradient(30, tolerance=1e-3)
    estimator = Implicit(finetune_solver=cg, pretrain_solver=cg)
    learner = Learner(
        WeightLearner(pretraining, finetuning, weights, estimator=estimator, every=3, warmup=40),
        torch.optim.SGD(pretraining.module.parameters(), lr=0.1),
        torch.optim.SGD(finetuning.module.parameters(), lr=0.1),
    )
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randn(n, generator=generator, dtype=torch.float64)  # noqa: E731
    for _ in range(400):
        learner.step(draw(problem.p), draw(problem.q), draw(problem.q))
    learned = weights.average.numpy()
    assert learned[2] < 0.02
    assert learned[3] < 0.02
    assert problem.F(learned) < 1.01 * least
    if weights.evidence is not None:  # nor far at the end: mirror descent's last weights are up to 1.24 times the best
        assert problem.F(weights.values.numpy()) < 1.1 * least
    assert problem.F(np.full(4, 0.25)) > 1.05 * least  # there was something to learn
