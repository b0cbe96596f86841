"""The alternation: what moves when, resuming, and the signal-to-noise report."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from tapweight_problems import Networks

from tapweight import (
    Finetuning,
    HypergradientFailure,
    Implicit,
    Learner,
    ObjectiveWeights,
    Pretraining,
    WeightLearner,
    cross_fit,
    hypergradient,
    released_hypergradient,
    signal_to_noise,
    solvers,
)


def build(
    kind: str = "adam",
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.2,
    decay: float = 0.1,
    autocast: torch.dtype | None = None,
    estimator: Implicit | None = None,
    **options,
) -> tuple[Learner, Networks]:
    problem = Networks(0, dropout=dropout, norm=True, dtype=dtype, decay=decay)
    make = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    }[kind]
    learner = Learner(
        WeightLearner(
            problem.pretraining,
            problem.finetuning,
            ObjectiveWeights(3, lr=0.1),
            estimator=estimator or Implicit(batches=1),
            **options,
        ),
        make(problem.pretraining.module.parameters()),
        make(problem.finetuning.module.parameters()),
        autocast=autocast,
    )
    return learner, problem


def one(problem: Networks) -> tuple:
    return tuple(problem.batches[f"{k}_batches"][0] for k in ("pretrain", "train", "valid"))


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_trains_and_updates_when_due(kind):
    learner, problem = build(kind, every=3, warmup=4)
    steps = [learner.step(*one(problem)) for _ in range(13)]
    assert [i + 1 for i, s in enumerate(steps) if s.update is not None] == [7, 10, 13]
    assert learner.weights.updates == 3
    assert float(steps[-1].losses.sum()) < float(steps[0].losses.sum())


def test_a_step_is_plain_training_plus_the_proximal_gradient():
    learner, problem = build("sgd", every=100, dropout=0.0, dtype=torch.float64)
    pretrained, finetuned = copy.deepcopy(problem.pretraining.module), copy.deepcopy(problem.finetuning.module)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in (pretrained, finetuned)]
    batches = one(problem)
    for _ in range(3):
        learner.step(*batches)
        for optimizer in optimizers:
            optimizer.zero_grad()
        problem.losses(pretrained, batches[0]).mean().backward()
        optimizers[0].step()
        theta = dict(pretrained.encoder.named_parameters())
        pull = sum((p - theta[n].detach()).square().sum() for n, p in finetuned.encoder.named_parameters())
        (problem.loss(finetuned, batches[1]) + problem.gamma * pull).backward()
        optimizers[1].step()
    for a, b in ((problem.pretraining.module, pretrained), (problem.finetuning.module, finetuned)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.allclose(p, q, rtol=1e-10)


def test_accumulated_gradients_equal_one_large_batch():
    """With two halves of a batch and no batch statistics."""
    results = []
    for accumulate in (1, 2):
        problem = Networks(0)
        learner = Learner(
            WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), every=100),
            torch.optim.SGD(problem.pretraining.module.parameters(), lr=0.1),
            torch.optim.SGD(problem.finetuning.module.parameters(), lr=0.1),
            accumulate=accumulate,
        )
        pretrain, train, valid = one(problem)
        if accumulate == 1:
            learner.step(pretrain, train, valid)
        else:
            for half in (slice(0, None, 2), slice(1, None, 2)):
                learner.step(tuple(t[half] for t in pretrain), tuple(t[half] for t in train), valid)
        results.append(
            [p.detach().clone() for m in (problem.pretraining, problem.finetuning) for p in m.module.parameters()]
        )
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_resumes_exactly(kind):
    through, problem = build(kind, every=2)
    for _ in range(8):
        through.step(*one(problem))
    first, problem = build(kind, every=2)
    for _ in range(4):
        first.step(*one(problem))
    state, rng = copy.deepcopy(first.state_dict()), torch.get_rng_state()
    second, other = build(kind, every=2)
    second.load_state_dict(state)
    torch.manual_seed(0)
    # Generators belong to the caller: replay the first half's by starting over.
    torch.set_rng_state(rng)
    for _ in range(4):
        second.step(*one(other))
    assert torch.equal(second.weights.values, through.weights.values)


def test_forward_reuses_the_training_losses():
    """One pretraining pass fewer, and the very numbers that two passes give."""
    learner, problem = build(every=1, estimator=Implicit(last_step="forward"))
    pretrain, train, valid = one(problem)
    before = copy.deepcopy((problem.pretraining.module.state_dict(), problem.finetuning.module.state_dict()))
    torch.manual_seed(5)
    update = learner.step(pretrain, train, valid).update
    assert update.passes["pretrain_forward"] == 1
    problem.pretraining.module.load_state_dict(before[0])
    problem.finetuning.module.load_state_dict(before[1])
    torch.manual_seed(5)
    seed = int(torch.randint(2**48, ()))
    again = hypergradient(
        problem.pretraining,
        problem.finetuning,
        torch.ones(3) / 3,
        pretrain_batches=[pretrain],
        train_batches=[train],
        valid_batches=[valid],
        last_step="forward",
        seed=seed,
    )
    assert again.passes["pretrain_forward"] == 2
    assert torch.allclose(update.gradient, again.gradient, rtol=1e-4)


def test_bf16_training_leaves_hypergradients_in_single_precision():
    learner, problem = build(every=2, autocast=torch.bfloat16, estimator=Implicit(last_step="forward"), dropout=0.0)
    for _ in range(4):
        step = learner.step(*one(problem))
    assert learner.weights.updates == 2
    assert step.update.passes["pretrain_forward"] == 2  # nothing computed in bf16 is reused
    assert torch.isfinite(step.losses).all()


def test_failures_are_counted_and_in_the_end_raised():
    cg = Implicit(pretrain_solver=solvers.ConjugateGradient(5, damping=0.1))
    learner, problem = build(every=1, decay=-1e4, estimator=cg, patience=2, retries=1)
    for _ in range(2):
        assert learner.step(*one(problem)).update is None
    assert learner.weight_learner.failures == 3
    assert cg.damping == pytest.approx(0.4)
    assert "not positive definite" in str(learner.weight_learner.attempts[-1].failure)
    assert torch.equal(learner.weights.values, ObjectiveWeights(3).values)
    with pytest.raises(HypergradientFailure):
        learner.step(*one(problem))


def test_two_levels_train_one_encoder():
    problem = Networks(0)
    problem.finetuning.module.encoder = problem.pretraining.module.encoder
    estimator = Implicit(levels=2)
    learner = Learner(
        WeightLearner(
            problem.pretraining, problem.finetuning, ObjectiveWeights(3, lr=0.1), estimator=estimator, every=1
        ),
        torch.optim.SGD(problem.pretraining.module.parameters(), lr=0.1),
        torch.optim.SGD(problem.finetuning.module.head.parameters(), lr=0.1),
    )
    twin = Networks(0)
    twin.finetuning.module.encoder = twin.pretraining.module.encoder
    pretrain, train, _ = one(twin)
    (twin.losses(twin.pretraining.module, pretrain).mean() + twin.loss(twin.finetuning.module, train)).backward()
    learner.step(*one(problem))
    for p, q in zip(problem.pretraining.module.parameters(), twin.pretraining.module.parameters(), strict=True):
        assert torch.allclose(p, q - 0.1 * q.grad, rtol=1e-10)
    assert learner.weights.updates == 1
    apart = Networks(0)
    with pytest.raises(ValueError, match="one encoder"):
        WeightLearner(apart.pretraining, apart.finetuning, ObjectiveWeights(3), estimator=estimator)


def test_released_variant_is_identity_alignment_when_its_faults_are_off(relative_error):
    """Same random numbers, full precision, no dropout: both are −⟨∇ℓ_i, 2γ E ∇ℓ_valid⟩."""
    problem = Networks(0)
    one_each = {f"{k}_batch": problem.batches[f"{k}_batches"][0] for k in ("pretrain", "train", "valid")}
    released = released_hypergradient(
        problem.pretraining, problem.finetuning, problem.lam, autocast=None, common_random_numbers=True, **one_each
    )
    lists = {f"{k}es": [v] for k, v in one_each.items()}
    ours = hypergradient(problem.pretraining, problem.finetuning, problem.lam, last_step="jvp", **lists)
    assert relative_error("darts", "network", "identity, jvp", released.gradient, ours.gradient) < 1e-4


def test_released_variant_drowns_in_its_own_noise():
    """Dropout masks that differ between the two passes of a difference: |mean|/std falls by far more than half."""
    problem = Networks(0, dropout=0.3, dtype=torch.float32)
    one_each = {f"{k}_batch": problem.batches[f"{k}_batches"][0] for k in ("pretrain", "train", "valid")}
    ratios = {}
    for common in (False, True):

        def draw(s: int, common: bool = common) -> torch.Tensor:
            torch.manual_seed(s)
            return released_hypergradient(
                problem.pretraining,
                problem.finetuning,
                problem.lam,
                autocast=None,
                common_random_numbers=common,
                **one_each,
            ).gradient

        ratios[common] = signal_to_noise(draw, 60, problem.lam).ratio
    assert float(ratios[False].max()) < float(ratios[True].max()) / 4


def test_signal_to_noise_of_known_samples():
    lam = torch.tensor([0.5, 0.5], dtype=torch.float64)
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(
        rng.standard_normal((4000, 2)) + np.array([1.0, 0.0]) + 100.0
    )  # a shared 100 is no signal
    report = signal_to_noise(lambda s: samples[s], 4000, lam)
    # λ ⊙ (g − ⟨λ, g⟩) = (g₁ − g₂)/4: mean 1/4, std √2/4.
    np.testing.assert_allclose(report.ratio, [2**-0.5] * 2, atol=4 * float(report.error[0]))
    np.testing.assert_allclose(report.draws_needed, [8.0] * 2, rtol=0.3)
    assert "mask" in report.table(["mask", "contrast"])
    with pytest.raises(ValueError, match="at least 2"):
        signal_to_noise(lambda s: samples[s], 1, lam)


def test_cross_fit_uses_each_batch_once_as_valid():
    splits = list(cross_fit(list("abcde"), 2))
    assert sorted(batch for _, valid in splits for batch in valid) == list("abcde")
    assert all(not set(train) & set(valid) and len(train) + len(valid) == 5 for train, valid in splits)
    with pytest.raises(ValueError, match="between 2 and"):
        list(cross_fit([1], 2))


def test_a_step_that_raises_does_not_count():
    learner, problem = build(every=2)
    losses = learner.pretraining.losses
    learner.step(*one(problem))
    learner.pretraining.losses = lambda m, b: losses(m, None)
    with pytest.raises(TypeError):
        learner.step(*one(problem))
    learner.pretraining.losses = losses
    assert learner.steps == 1
    assert learner.step(*one(problem)).update is not None
    with pytest.raises(ValueError, match=r"accumulate is 1\.5"):
        Learner(learner.weight_learner, learner.pretrain_optimizer, learner.finetune_optimizer, accumulate=1.5)


def test_an_optimizer_over_both_levels_is_refused():
    problem = Networks(0)
    both = torch.optim.SGD([*problem.pretraining.module.parameters(), *problem.finetuning.module.parameters()], lr=0.1)
    with pytest.raises(ValueError, match="both optimisers"):
        Learner(
            WeightLearner(
                Pretraining(problem.pretraining.module, problem.losses),
                Finetuning(problem.finetuning.module, problem.loss, gamma=1.0),
                ObjectiveWeights(3),
            ),
            both,
            both,
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda out: out[:1], r"gave \(1,\), expected a tensor of shape \(3,\)"),  # would broadcast
        (lambda out: out.sum(), r"gave \(\), expected"),
        (list, "gave a list, expected"),
        (torch.Tensor.detach, "no gradient of any objective reaches any parameter"),
    ],
)
def test_losses_that_training_cannot_use_are_told_before_a_step_is_made(change, told):
    learner, problem = build(every=100)
    before = [p.detach().clone() for p in learner.pretraining.module.parameters()]
    learner.pretraining.losses = lambda m, b: change(problem.losses(m, b))
    with pytest.raises(ValueError, match=told):
        learner.step(*one(problem))
    assert all(torch.equal(a, b) for a, b in zip(before, learner.pretraining.module.parameters(), strict=True))


def test_a_task_loss_without_a_gradient_is_told():
    learner, problem = build(every=100)
    learner.finetuning.loss = lambda m, b: problem.loss(m, b).detach()
    with pytest.raises(ValueError, match="no gradient of the task loss reaches any parameter"):
        learner.step(*one(problem))


def test_a_first_update_warns_of_nothing_of_torchs_own():
    """In an interpreter of its own: torch warns once, when forward mode is first used."""
    code = (
        "import torch, tapweight\n"
        "m, t = (torch.nn.ModuleDict({'encoder': torch.nn.Linear(2, 2)}) for _ in 'ab')\n"
        "loss = lambda m, x: m['encoder'](x).square().mean(0)\n"
        "x = torch.ones(3, 2)\n"
        "tapweight.hypergradient(tapweight.Pretraining(m, loss),\n"
        "    tapweight.Finetuning(t, lambda m, x: loss(m, x).sum(), gamma=1.0), torch.full((2,), 0.5),\n"
        "    pretrain_batches=[x], train_batches=[x], valid_batches=[x])\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
