"""Algorithm 1 less the training steps: the same weights in anybody's loop, failures that are damped, resuming."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tapweight_problems import Networks, Quadratic

from tapweight import (
    Cost,
    Finetuning,
    Hypergradient,
    HypergradientFailure,
    Implicit,
    Learner,
    ObjectiveWeights,
    Probe,
    WeightLearner,
    hypergradient,
    solvers,
)


def one(problem: Networks) -> list:
    return [problem.batches[f"{k}_batches"][0] for k in ("pretrain", "train", "valid")]


def test_a_loop_of_ones_own_gives_the_weights_of_learner():
    weights = []
    for own in (False, True):
        problem = Networks(0, dropout=0.0)
        learner = WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), every=2, warmup=1)
        adams = [
            torch.optim.Adam(m.parameters(), lr=1e-2) for m in (problem.pretraining.module, problem.finetuning.module)
        ]
        both = Learner(learner, *adams)
        batches = one(problem)
        for step in range(1, 8):
            if not own:
                both.step(*batches)
                continue
            now = learner.weights.values
            if learner.due(step):
                assert isinstance(learner.update(*([b] for b in batches)), Hypergradient)
            for adam in adams:
                adam.zero_grad()
            (problem.losses(problem.pretraining.module, batches[0]) * now).sum().backward()
            adams[0].step()
            problem.loss(problem.finetuning.module, batches[1]).backward()
            problem.finetuning.add_proximal_grad_(problem.pretraining)
            adams[1].step()
        assert learner.weights.updates == 3
        weights.append(learner.weights.values)
    assert torch.equal(*weights)


def test_due_after_the_warm_up_and_then_every_so_many_steps():
    problem = Networks(0)
    learner = WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), every=3, warmup=4)
    assert [step for step in range(14) if learner.due(step)] == [7, 10, 13]


def indefinite() -> tuple[Quadratic, WeightLearner, Implicit]:
    """Level I curves downwards in some directions."""
    problem = Quadratic(0)
    problem.A = [a - 2 * np.eye(problem.p) for a in problem.A]
    pretraining, finetuning = problem.levels()
    cg = solvers.ConjugateGradient(50, damping=0.01)
    estimator = Implicit(finetune_solver=cg, pretrain_solver=cg)
    return problem, WeightLearner(pretraining, finetuning, ObjectiveWeights(3), estimator=estimator), estimator


def test_a_failed_solve_is_damped_until_it_works_and_the_damping_stays():
    problem, learner, estimator = indefinite()
    batches = list(problem.batches.values())
    found = learner.update(*batches)
    assert found is not None
    dampings = [attempt.damping for attempt in learner.attempts]
    assert dampings == [pytest.approx(0.01 * 4**i) for i in range(len(dampings))]
    assert len(dampings) > 1
    assert [attempt.failure is None for attempt in learner.attempts] == [False] * (len(dampings) - 1) + [True]
    assert all(attempt.passes["pretrain_forward"] > 0 for attempt in learner.attempts)
    # Both solvers carry it, and the next update starts with it.
    assert estimator.finetune_solver.damping == estimator.pretrain_solver.damping == pytest.approx(dampings[-1])
    learner.update(*batches)
    assert len(learner.attempts) == 1

    _, again, fresh = indefinite()
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert fresh.damping == estimator.damping
    assert torch.equal(again.update(*batches).gradient, learner.update(*batches).gradient)
    assert torch.equal(again.weights.values, learner.weights.values)


def test_retries_are_bounded_over_the_run_and_weights_stay_where_they_were():
    problem, learner, estimator = indefinite()
    learner.retries, learner.patience = 1, 1
    batches = list(problem.batches.values())
    before = learner.weights.values
    assert learner.update(*batches) is None
    assert [attempt.damping for attempt in learner.attempts] == [pytest.approx(0.01), pytest.approx(0.04)]
    assert torch.equal(learner.weights.values, before)
    with pytest.raises(HypergradientFailure, match="not positive definite"):
        learner.update(*batches)
    assert len(learner.attempts) == 1  # nothing left of the run's retries
    assert (learner.failures, estimator.damping) == (3, pytest.approx(0.04))


def test_a_solver_without_damping_is_given_some():
    assert solvers.ConjugateGradient(5).damped(4).damping > 0
    assert solvers.Identity().damped(4) is None
    assert not Implicit().more_damping()


def test_a_probe_has_no_second_optimiser():
    problem = Networks(0)
    probe = Probe(lambda m, b: m.encoder(b[0]), lambda b: b[1][:, :1])
    learner = WeightLearner(problem.pretraining, probe, ObjectiveWeights(3), every=1)
    sgd = torch.optim.SGD(problem.pretraining.module.parameters(), lr=0.1)
    step = Learner(learner, sgd).step(*one(problem))
    assert step.train_loss is None
    assert step.update is not None
    with pytest.raises(ValueError, match="not with a probe"):
        Learner(learner, sgd, sgd)


def test_more_pretraining_batches_are_averaged():
    problem = Networks(0)
    first, second = problem.batches["pretrain_batches"]
    _, train, valid = one(problem)
    learner = WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), every=1)
    assert learner.estimator.batches == 4
    sgds = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (problem.pretraining.module, problem.finetuning.module)]
    lam = learner.weights.values
    each = [
        hypergradient(
            problem.pretraining,
            problem.finetuning,
            lam,
            pretrain_batches=[batch],
            train_batches=[train],
            valid_batches=[valid],
        ).gradient
        for batch in (first, second)
    ]
    found = Learner(learner, *sgds).step(first, train, valid, more=[second]).update
    assert torch.allclose(found.gradient, sum(each) / 2, rtol=1e-10)


def test_costs_are_what_an_estimate_spends():
    """Forward-equivalents: a forward pass is one, a backward pass two."""
    problem = Networks(0)
    cg = solvers.ConjugateGradient(3, tolerance=0.0, damping=100.0)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (problem.pretraining.module, problem.finetuning.module)]
    probe = Probe(lambda m, b: m.encoder(b[0]), lambda b: b[1][:, :1])
    for task, estimator in (
        (problem.finetuning, Implicit(batches=2)),
        (problem.finetuning, Implicit(finetune_solver=cg, pretrain_solver=cg, last_step="gradients", batches=2)),
        (probe, Implicit(pretrain_solver=cg, batches=2)),
    ):
        passes = estimator.estimate(problem.pretraining, task, problem.lam, **problem.batches).passes
        cost = estimator.cost(type(task), 3, *sizes)
        spent = {
            level: passes[f"{level}_forward"] + 2 * passes[f"{level}_backward"]
            for level in ("pretrain", "train", "valid")
        }
        assert spent == {"pretrain": cost.pretrain, "train": cost.train, "valid": 2 * cost.valid}
        assert cost.may_fail == (estimator.pretrain_solver is cg)
    assert isinstance(cost, Cost)


@pytest.mark.parametrize(("options", "message"), [({"every": 0}, "every is 0"), ({"warmup": -1}, "warmup is -1")])
def test_refuses_nonsense(options, message):
    problem = Networks(0)
    with pytest.raises(ValueError, match=message):
        WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), **options)
    with pytest.raises(ValueError, match="no shared trainable parameter"):
        WeightLearner(
            problem.pretraining, Finetuning(torch.nn.Linear(1, 1), problem.loss, gamma=1.0), ObjectiveWeights(3)
        )
