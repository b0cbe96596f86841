"""Every number that a public function or constructor takes: what lies outside its domain is refused by its name.

Numbers that are not refused give a result that looks like one: a tolerance of NaN stops conjugate gradients before
their first step, a warm-up of 2.5 steps never ends.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from tapweight_problems import Networks

import tapweight
from tapweight import (
    Finetuning,
    Implicit,
    Learner,
    ObjectiveWeights,
    Probe,
    WeightLearner,
    cross_fit,
    horizon,
    last_step_cost,
    signal_to_noise,
    solvers,
)
from tapweight.horizon import Effects, ThroughTraining, effects, metasmoothness, pooled, vertices, weights_of

NO_NUMBER = [True, "3", None, torch.ones(2)]
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


def learner(**options):
    problem = Networks(0)
    return WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), **options)


def unrolled(**options):
    problem = Networks(0)
    usual = {"pretrain_steps": 1, "finetune_steps": 1, "pretrain_lr": 0.1, "finetune_lr": 0.1, "weights": problem.lam}
    options = {**usual, **options}
    return tapweight.unrolled_hypergradient(problem.pretraining, problem.finetuning, **options, **problem.batches)


def released(**options):
    problem = Networks(0)
    batches = {name.removesuffix("es"): found[0] for name, found in problem.batches.items()}
    options = {"weights": problem.lam, "autocast": None, **options}
    return tapweight.released_hypergradient(problem.pretraining, problem.finetuning, **options, **batches)


def through(function, **options):
    problem = Networks(0)
    optimizer = torch.optim.SGD(problem.pretraining.module.parameters(), lr=0.1)
    batches = problem.batches["pretrain_batches"]
    options = {"weights": problem.lam, "batches": batches, "terminal": lambda: (0.0, {}), **options}
    return function(problem.pretraining, optimizer, **options)


def reverse(**options):
    return through(horizon.reverse_hypergradient, **options)


def forward(**options):
    return through(horizon.forward_hypergradient, **options)


def training(**options):
    return ThroughTraining(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), **options)


def probe(**options):
    return Probe(lambda module, batch: batch, lambda batch: batch, **options)


def reach(reach):
    one = torch.tensor([1.0, -1.0], dtype=torch.float64)
    return weights_of(Effects(one, one[None], float("nan"), 1.0), reach)


def noise(draws):
    return signal_to_noise(lambda s: torch.randn(2), draws, torch.tensor([0.5, 0.5]))


def both_levels(**options):
    own = learner()
    levels = (own.pretraining, own.task)
    return Learner(own, *(torch.optim.SGD(level.module.parameters(), lr=0.1) for level in levels), **options)


def cost(k):
    return last_step_cost("gradients", k)


def finetuning(gamma):
    problem = Networks(0)
    return Finetuning(problem.finetuning.module, problem.loss, gamma=gamma)


def folds(folds):
    return list(cross_fit([1, 2, 3], folds))


def weights(**options):
    return ObjectiveWeights(**{"names": 3, **options})


WHOLE = [  # function, parameter, the least, may it be None?
    (unrolled, "pretrain_steps", 1, False),
    (unrolled, "finetune_steps", 1, False),
    (learner, "every", 1, False),
    (learner, "warmup", 0, False),
    (learner, "retries", 0, False),
    (learner, "patience", 0, True),
    (Implicit, "batches", 1, True),
    (weights, "average_from", 1, False),
    (training, "steps", 1, False),
    (training, "checkpoints", 1, True),
    (reverse, "checkpoints", 1, True),
    (noise, "draws", 2, False),
    (folds, "folds", 2, False),
    (both_levels, "accumulate", 1, False),
    (cost, "k", 1, False),
    (solvers.ConjugateGradient, "iterations", 1, False),
    (solvers.Neumann, "terms", 1, False),
    (solvers.Neumann, "power_iterations", 1, False),
    (solvers.Nystrom, "rank", 1, False),
    (solvers.Exact, "largest", 1, False),
    (horizon.vertices, "size", 1, False),
    (horizon.halves, "size", 2, False),
    (horizon.leave_one_out, "size", 2, False),
]
NUMBERS = [  # function, parameter, must it be positive, what it must lie below, may it be None?
    (unrolled, "pretrain_lr", True, None, False),
    (unrolled, "finetune_lr", True, None, False),
    (released, "radius", True, None, False),
    (weights, "lr", True, None, True),
    (weights, "trust", False, None, False),
    (weights, "floor", False, None, False),
    (weights, "prior_strength", False, None, False),
    (probe, "strength", True, None, False),
    (finetuning, "gamma", True, None, False),
    (reach, "reach", False, None, False),
    (solvers.ConjugateGradient, "damping", False, None, False),
    (solvers.ConjugateGradient, "tolerance", False, 1.0, False),
    (solvers.Neumann, "damping", False, None, False),
    (solvers.Neumann, "tolerance", False, 1.0, False),
    (solvers.Neumann, "step", True, None, True),
    (solvers.Nystrom, "damping", True, None, False),
    (solvers.Exact, "damping", False, None, False),
    (solvers.Exact().damped, "factor", True, None, False),
]


def named(case):
    return f"{case[0].__name__}-{case[1]}"


@pytest.mark.parametrize("case", WHOLE, ids=named)
def test_whole_numbers(case):
    function, name, least, optional = case
    for bad in [*NO_NUMBER, *NOT_FINITE, least - 1, -3, least + 0.5, float(least)]:
        if not (bad is None and optional):
            with pytest.raises(ValueError, match=f"{name} is .*, must be a whole number of at least {least}"):
                function(**{name: bad})
    function(**{name: np.int64(least)})
    if optional:
        function(**{name: None})


@pytest.mark.parametrize("case", NUMBERS, ids=named)
def test_numbers(case):
    function, name, positive, below, optional = case
    for bad in [*NO_NUMBER, *NOT_FINITE, -1e-9, *([0.0] if positive else []), *([below] if below else [])]:
        if not (bad is None and optional):
            told = f"{name} is .*, must be {'positive' if positive else 'at least 0'} and"
            with pytest.raises(ValueError, match=told):
                function(**{name: bad})
    for good in [np.float32(0.25), *([] if positive or name == "prior_strength" else [0])]:
        if name != "prior_strength":  # it goes with a prior
            function(**{name: good})
    if optional:
        function(**{name: None})


@pytest.mark.parametrize("function", [unrolled, released, reverse, forward])
@pytest.mark.parametrize("bad", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [float("nan"), 0.5, 0.5]])
def test_weights_off_the_simplex(function, bad):
    with pytest.raises(ValueError, match="sum to 1"):
        function(weights=torch.tensor(bad, dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda: signal_to_noise(lambda s: torch.randn(2), 2, torch.tensor([0.5, 0.6])), "sum to 1"),
        (lambda: Implicit(levels=4), "levels is 4"),
        (lambda: Implicit(last_step="centre"), "last_step 'centre'"),
        (lambda: effects(vertices(3), torch.zeros(0, 3)), "do not fit"),
        (lambda: effects(torch.ones(2, 1), torch.zeros(2, 2)), "K ≥ 2"),
        (lambda: effects(vertices(3) * float("nan"), torch.zeros(2, 3)), "finite"),
        (lambda: pooled(vertices(3), torch.zeros(2, 0, 3)), "readings have the shape"),
        (lambda: metasmoothness(torch.zeros(2), torch.zeros(1), torch.zeros(2)), "as many parameters"),
        (lambda: ObjectiveWeights(True), "names is True"),
        (lambda: last_step_cost("centre", 2), "unknown last_step 'centre'"),
    ],
)
def test_what_else_cannot_be_meant(function, told):
    with pytest.raises(ValueError, match=told):
        function()


RESULTS = {"Attempt", "Effects", "Hypergradient", "Report"}
ELSEWHERE = {
    "seed": "any whole number is one",
    "names": "test_what_else_cannot_be_meant",
    "effort": "by_name hands it on, to the solvers above",
}


def test_no_number_of_the_public_functions_is_left_out():
    """A new one belongs into the tables above, or among those that are looked at elsewhere."""
    known = {name for _, name, *_ in (*WHOLE, *NUMBERS)} | set(ELSEWHERE)
    found = {
        f"{public.__name__}({name})"
        for room in (tapweight, solvers, horizon)
        for public in (getattr(room, word) for word in room.__all__ if word not in RESULTS)
        if callable(public) and not (isinstance(public, type) and issubclass(public, tuple | Exception))
        for name, parameter in inspect.signature(public).parameters.items()
        if {"int", "float"} & set(str(parameter.annotation).split(" | ")) and name not in known
    }
    assert found == set()
