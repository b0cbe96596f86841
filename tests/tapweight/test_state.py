"""A hypergradient touches nothing: parameters, buffers, modes, optimisers and generators are bit-identical."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from tapweight_problems import Networks
from torch import nn

from tapweight import (
    Finetuning,
    HypergradientFailure,
    Pretraining,
    Probe,
    hypergradient,
    released_hypergradient,
    solvers,
    unrolled_hypergradient,
)


def train_a_little(problem: Networks, kind: str) -> list[torch.optim.Optimizer]:
    make = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    }[kind]
    optimizers = [make(level.module.parameters()) for level in (problem.pretraining, problem.finetuning)]
    for _ in range(3):
        problem.losses(problem.pretraining.module, problem.batches["pretrain_batches"][0]).sum().backward()
        problem.loss(problem.finetuning.module, problem.batches["train_batches"][0]).backward()
        for optimizer in optimizers:
            optimizer.step()
    return optimizers


def snapshot(problem: Networks, optimizers: list[torch.optim.Optimizer]):
    modules = (problem.pretraining.module, problem.finetuning.module)
    return copy.deepcopy(
        {
            "tensors": [dict(m.state_dict()) for m in modules],
            "grads": [[p.grad for p in m.parameters()] for m in modules],
            "requires_grad": [[p.requires_grad for p in m.parameters()] for m in modules],
            "modes": [[s.training for s in m.modules()] for m in modules],
            "optimizers": [o.state_dict() for o in optimizers],
            "rng": torch.get_rng_state(),
            "python": random.getstate(),
        }
    )


def identical(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def noisy(seed: int = 0, dtype: torch.dtype = torch.float64) -> Networks:
    problem = Networks(seed, dropout=0.3, norm=True, dtype=dtype)
    problem.pretraining.module.head.eval()  # a mode that plain module.train() would not restore
    return problem


SOLVERS = {
    "identity": lambda o: solvers.Identity(),
    "adam_diagonal": lambda o: solvers.AdamDiagonal(o),
    "neumann": lambda o: solvers.Neumann(5, damping=5.0),
    "cg": lambda o: solvers.ConjugateGradient(5, damping=5.0),
    "nystrom": lambda o: solvers.Nystrom(3, damping=5.0),
    "exact": lambda o: solvers.Exact(damping=5.0),
}


@pytest.mark.parametrize(("kind", "dtype"), [("adam", torch.float32), ("adamw", torch.float64), ("sgd", torch.float32)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_bit_identical_for_every_solver_and_optimizer(solver, kind, dtype):
    if solver == "adam_diagonal" and kind == "sgd":
        pytest.skip("SGD has no second moment")
    problem = noisy(dtype=dtype)
    optimizers = train_a_little(problem, kind)
    before = snapshot(problem, optimizers)
    hypergradient(
        problem.pretraining,
        problem.finetuning,
        problem.lam,
        pretrain_solver=SOLVERS[solver](optimizers[0]),
        finetune_solver=SOLVERS[solver](optimizers[1]),
        **problem.batches,
    )
    assert identical(before, snapshot(problem, optimizers))


@pytest.mark.parametrize("last_step", ["central", "forward", "jvp", "gradients"])
@pytest.mark.parametrize("levels", [2, 3])
def test_bit_identical_for_every_last_step(last_step, levels):
    problem = noisy()
    optimizers = train_a_little(problem, "adam")
    before = snapshot(problem, optimizers)
    hypergradient(
        problem.pretraining, problem.finetuning, problem.lam, last_step=last_step, levels=levels, **problem.batches
    )
    assert identical(before, snapshot(problem, optimizers))


def test_bit_identical_for_probe_and_unroll():
    problem = noisy()
    optimizers = train_a_little(problem, "adam")
    before = snapshot(problem, optimizers)
    probe = Probe(lambda m, b: m.encoder(b[0]), lambda b: b[1][:, :1])
    hypergradient(problem.pretraining, probe, problem.lam, **problem.batches)
    unrolled_hypergradient(
        problem.pretraining,
        problem.finetuning,
        problem.lam,
        pretrain_steps=2,
        finetune_steps=2,
        pretrain_lr=0.1,
        finetune_lr=0.1,
        **problem.batches,
    )
    assert identical(before, snapshot(problem, optimizers))


def test_bit_identical_after_a_failure():
    problem = noisy()
    before = snapshot(problem, [])
    with pytest.raises(HypergradientFailure):
        hypergradient(
            problem.pretraining,
            problem.finetuning,
            problem.lam,
            **{
                **problem.batches,
                "valid_batches": [tuple(t * float("nan") for t in problem.batches["valid_batches"][0])],
            },
        )
    assert identical(before, snapshot(problem, []))


def test_the_snapshot_sees_what_the_released_variant_changes():
    """The comparison above can fail: the released variant moves batch-norm statistics and the generator."""
    problem = noisy()
    before = snapshot(problem, [])
    one = {key.replace("batches", "batch"): value[0] for key, value in problem.batches.items()}
    released_hypergradient(problem.pretraining, problem.finetuning, problem.lam, autocast=None, **one)
    after = snapshot(problem, [])
    assert not identical(before["rng"], after["rng"])
    assert not identical(before["tensors"], after["tensors"])
    for a, b in zip(before["tensors"], after["tensors"], strict=True):
        assert all(identical(a[k], b[k]) for k in a if k.endswith(("weight", "bias")))


def test_dropout_last_steps_agree_under_one_seed(relative_error):
    problem = noisy()
    values = {
        how: hypergradient(
            problem.pretraining, problem.finetuning, problem.lam, last_step=how, seed=7, **problem.batches
        ).gradient
        for how in ("jvp", "central", "forward", "gradients")
    }
    for how in ("central", "forward", "gradients"):
        assert (
            relative_error(f"last step {how}", "network, dropout 0.3", "against jvp", values[how], values["jvp"]) < 1e-4
        )
    other = hypergradient(
        problem.pretraining, problem.finetuning, problem.lam, last_step="jvp", seed=8, **problem.batches
    ).gradient
    assert float((other - values["jvp"]).norm() / other.norm()) > 1e-2  # the masks do matter


def test_central_differences_hold_in_single_precision(relative_error):
    """Scales of r over ten orders of magnitude: γ only scales u, so relative errors must stay."""
    for gamma in (1e-6, 1e-3, 1.0, 1e3):
        problem = Networks(0, gamma=gamma, dropout=0.3, norm=True, dtype=torch.float32)
        central, exact = (
            hypergradient(
                problem.pretraining, problem.finetuning, problem.lam, last_step=how, seed=1, **problem.batches
            ).gradient
            for how in ("central", "gradients")
        )
        assert (
            relative_error("central, float32", f"network, dropout 0.3, γ {gamma:g}", "gradients", central, exact) < 1e-3
        )


def test_validation_is_in_eval_mode_and_follows_no_generator():
    problem = noisy()
    train_a_little(problem, "sgd")
    module = copy.deepcopy(problem.finetuning.module).eval()
    expected = sum(float(problem.loss(module, b).detach()) for b in problem.batches["valid_batches"]) / 2
    for seed in (1, 2):
        out = hypergradient(problem.pretraining, problem.finetuning, problem.lam, seed=seed, **problem.batches)
        assert out.valid_loss == pytest.approx(expected, rel=1e-12)


def test_default_seed_follows_the_generator():
    problem = noisy()
    call = lambda: hypergradient(problem.pretraining, problem.finetuning, problem.lam, **problem.batches).gradient  # noqa: E731
    first = call()
    assert torch.equal(first, call())
    torch.rand(1)
    assert not torch.equal(first, call())


class Tied(nn.Module):
    """The head reuses the encoder's matrix, as a language model's decoder reuses its embedding."""

    def __init__(self, alias: bool) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.weight = nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
        self.bias = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        if alias:
            self.decoder = nn.Module()
            self.decoder.weight = self.encoder.weight

    def forward(self, x):
        last = self.decoder.weight if hasattr(self, "decoder") else self.encoder.weight
        return torch.tanh(x @ self.encoder.weight) @ last.T + self.bias


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("solver", ["identity", "cg", "neumann"])
def test_tied_parameters_count_once(solver, levels):
    base = Networks(0)
    results = []
    for alias in (True, False):
        shared = {"decoder.weight": "decoder.weight", "encoder.weight": "encoder.weight"} if alias else None
        torch.manual_seed(1)
        pretraining = Pretraining(Tied(alias), base.losses)
        finetuning = Finetuning(Tied(alias), base.loss, gamma=0.5, shared=shared)
        with torch.no_grad():
            finetuning.module.encoder.weight += 0.1
        assert float(finetuning.proximal(pretraining)) == pytest.approx(0.5 * 9 * 0.01)
        make = SOLVERS[solver]
        results.append(
            hypergradient(
                pretraining,
                finetuning,
                base.lam,
                pretrain_solver=make(None),
                levels=levels,
                finetune_solver=make(None) if levels == 3 else None,
                **base.batches,
            ).gradient
        )
    assert torch.allclose(results[0], results[1], rtol=1e-9)


@pytest.mark.parametrize("levels", [2, 3])
def test_frozen_parameters_are_constants(levels):
    """Freezing the first layer in both models equals moving it out of the parameters."""

    class Constant(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.register_buffer("w", layer.weight.detach().clone())
            self.register_buffer("b", layer.bias.detach().clone())

        def forward(self, x):
            return x @ self.w.T + self.b

    problem = Networks(0)
    for level in (problem.pretraining, problem.finetuning):
        level.module.encoder.insert(2, nn.Linear(4, 4).double())
        level.module.encoder[0].requires_grad_(False)
    cg = solvers.ConjugateGradient(100, damping=5.0)

    def run() -> torch.Tensor:
        return hypergradient(
            problem.pretraining,
            problem.finetuning,
            problem.lam,
            levels=levels,
            pretrain_solver=cg,
            finetune_solver=cg if levels == 3 else None,
            **problem.batches,
        ).gradient

    problem.decay = 0.0  # the penalty would see the difference between a constant and a parameter
    frozen = run()
    for level in (problem.pretraining, problem.finetuning):
        level.module.encoder[0] = Constant(level.module.encoder[0])
    assert torch.allclose(frozen, run(), rtol=1e-12)
