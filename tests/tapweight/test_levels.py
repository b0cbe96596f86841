"""The problem as its owner states it: couplings, errors with remedies, batches of unequal size, what is billed."""

from __future__ import annotations

import pytest
import torch
from tapweight_problems import Mlp, Networks
from torch import nn

from tapweight import Finetuning, HypergradientFailure, Pretraining, hypergradient, solvers


def test_proximal_term_and_its_gradient():
    problem = Networks(0, gamma=0.7)
    pretraining, finetuning = problem.pretraining, problem.finetuning
    theta = dict(pretraining.module.encoder.named_parameters())
    expected = sum((p - theta[n]).square().sum() for n, p in finetuning.module.encoder.named_parameters()) * 0.7
    assert float(finetuning.proximal(pretraining)) == pytest.approx(float(expected.detach()))
    loss = problem.loss(finetuning.module, problem.batches["train_batches"][0])
    (loss + finetuning.proximal(pretraining)).backward()
    by_autograd = [p.grad.clone() for p in finetuning.module.parameters()]
    assert all(p.grad is None for p in pretraining.module.parameters())
    finetuning.module.zero_grad()
    problem.loss(finetuning.module, problem.batches["train_batches"][0]).backward()
    finetuning.add_proximal_grad_(pretraining)
    for a, p in zip(by_autograd, finetuning.module.parameters(), strict=True):
        assert torch.allclose(a, p.grad, rtol=1e-12)
    finetuning.module.zero_grad()
    finetuning.add_proximal_grad_(pretraining)  # where there is no gradient yet
    assert torch.allclose(
        finetuning.module.encoder[0].weight.grad, 1.4 * (finetuning.module.encoder[0].weight - theta["0.weight"])
    )


def test_errors_name_the_remedy():
    problem = Networks(0)
    loss, losses = problem.loss, problem.losses
    pretraining = Pretraining(Mlp(3), losses)
    with pytest.raises(ValueError, match='call the encoder "encoder"'):
        Finetuning(nn.Linear(3, 1), loss, gamma=1.0).pairs(pretraining)
    with pytest.raises(ValueError, match=r"'body.weight' in finetuning.module"):
        Finetuning(Mlp(1), loss, gamma=1.0, shared={"body.weight": "encoder.0.weight"}).pairs(pretraining)
    with pytest.raises(ValueError, match="of shape"):
        Finetuning(Mlp(1), loss, gamma=1.0, shared={"head.weight": "head.weight"}).pairs(pretraining)
    with pytest.raises(ValueError, match=r"tapweight\.probe"):
        Finetuning(Mlp(1), loss, gamma=0.0)
    with pytest.raises(ValueError, match="one mean loss per objective"):
        hypergradient(pretraining, problem.finetuning, torch.ones(2) / 2, **problem.batches)
    with pytest.raises(ValueError, match="float32 master weights"):
        hypergradient(Pretraining(Mlp(3).bfloat16(), losses), problem.finetuning, problem.lam, **problem.batches)
    with pytest.raises(ValueError, match="no batches"):
        hypergradient(pretraining, problem.finetuning, problem.lam, **{**problem.batches, "valid_batches": []})
    with pytest.raises(ValueError, match="gradients"):
        hypergradient(pretraining, problem.finetuning, problem.lam, normalise=True, **problem.batches)
    with pytest.raises(ValueError, match="single solve"):
        hypergradient(
            pretraining,
            problem.finetuning,
            problem.lam,
            levels=2,
            finetune_solver=solvers.Identity(),
            **problem.batches,
        )
    bad = [tuple(t * float("inf") for t in problem.batches["valid_batches"][0])]
    with pytest.raises(HypergradientFailure, match="not finite"):
        hypergradient(pretraining, problem.finetuning, problem.lam, **{**problem.batches, "valid_batches": bad})


def test_a_shared_name_may_differ_between_modules():
    a, b = Networks(0), Networks(0)
    renamed = nn.Module()
    renamed.body, renamed.head = b.finetuning.module.encoder, b.finetuning.module.head

    def forward(module, x):
        return module.head(module.body(x))

    renamed.__class__ = type("Renamed", (nn.Module,), {"forward": forward})
    shared = {f"body.{n}": f"encoder.{n}" for n, _ in renamed.body.named_parameters()}
    other = Finetuning(renamed, b.loss, gamma=b.gamma, shared=shared)
    results = [
        hypergradient(p.pretraining, f, p.lam, seed=0, **p.batches).gradient for p, f in ((a, a.finetuning), (b, other))
    ]
    assert torch.equal(*results)


def test_unequal_batches_are_weighted_by_their_size():
    """A split in chunks of 16 and 5 gives what it gives whole, for all it is used for."""
    problem = Networks(0)
    x, y = (torch.cat(t) for t in zip(*problem.batches["valid_batches"], strict=True))
    x, y = x[:21], y[:21]
    finetuning = Finetuning(problem.finetuning.module, problem.loss, gamma=0.3, batch_size=lambda b: len(b[0]))
    cg = solvers.ConjugateGradient(100, damping=5.0, tolerance=1e-12)
    results = [
        hypergradient(
            problem.pretraining,
            finetuning,
            problem.lam,
            last_step="jvp",
            finetune_solver=cg,
            **{**problem.batches, "valid_batches": parts, "train_batches": parts},
        )
        for parts in ([(x, y)], [(x[:16], y[:16]), (x[16:], y[16:])])
    ]
    assert results[0].valid_loss == pytest.approx(results[1].valid_loss, rel=1e-12)
    assert torch.allclose(results[0].gradient, results[1].gradient, rtol=1e-9)


@pytest.mark.parametrize(
    ("last_step", "forward", "backward"), [("central", 4, 0), ("forward", 4, 0), ("jvp", 6, 0), ("gradients", 2, 6)]
)
def test_passes_are_those_made(last_step, forward, backward):
    """Counted by the losses themselves, with 2 pretraining and 2 validation batches."""
    problem = Networks(0)
    calls = {"losses": 0, "loss": 0}

    def losses(module, batch):
        calls["losses"] += 1
        return problem.losses(module, batch)

    def loss(module, batch):
        calls["loss"] += 1
        return problem.loss(module, batch)

    levels = Pretraining(problem.pretraining.module, losses), Finetuning(problem.finetuning.module, loss, gamma=0.3)
    hypergradient(*levels, problem.lam, last_step=last_step, **problem.batches)  # the checks of first use
    calls.update(losses=0, loss=0)
    out = hypergradient(
        *levels,
        problem.lam,
        last_step=last_step,
        **problem.batches,
    )
    assert out.passes == {
        "pretrain_forward": forward,
        "pretrain_backward": backward,
        "train_forward": 0,
        "train_backward": 0,
        "valid_forward": 2,
        "valid_backward": 2,
    }
    assert calls == {"losses": 2 if last_step == "jvp" else forward, "loss": 2}


def test_normalised_derivatives_are_cosines():
    problem = Networks(0)
    out = hypergradient(
        problem.pretraining, problem.finetuning, problem.lam, last_step="gradients", normalise=True, **problem.batches
    )
    loud = Pretraining(problem.pretraining.module, lambda m, b: problem.losses(m, b) * torch.tensor([1.0, 100.0, 1.0]))
    other = hypergradient(
        loud, problem.finetuning, problem.lam, last_step="gradients", normalise=True, **problem.batches
    )
    assert float(out.gradient.abs().max()) <= 1
    assert torch.allclose(out.gradient, other.gradient, rtol=1e-9)


def test_an_objective_without_parameters_has_derivative_zero():
    """The released code's constant fifth objective: every last step gives 0 and none fails."""
    problem = Networks(0)
    constant = Pretraining(
        problem.pretraining.module, lambda m, b: torch.cat([problem.losses(m, b), torch.zeros(1).double()])
    )
    lam = torch.ones(4, dtype=torch.float64) / 4
    for last_step in ("central", "forward", "jvp", "gradients"):
        out = hypergradient(constant, problem.finetuning, lam, last_step=last_step, **problem.batches)
        assert float(out.gradient[3]) == 0.0
        assert float(out.gradient[:3].abs().min()) > 0
