"""Operations without forward mode or second derivatives: products fall back and say so; the cost is as stated."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tapweight import Finetuning, Pretraining, hypergradient
from tapweight.curvature import HVP_PASSES, Hessian, Term
from tapweight.evaluation import Layout, Passes
from tapweight.solvers import ConjugateGradient


class Bag(nn.Module):
    """embedding_bag has neither a forward-mode nor a second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.EmbeddingBag(7, 3, mode="sum")
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.encoder(x)))


class Once(torch.autograd.Function):
    """A fused kernel with a first derivative and nothing more.

    Towards given inputs autograd leaves out the part it cannot differentiate, without a word; the fallback must notice.
    """

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class Twice(torch.autograd.Function):
    """A custom function with a double backward and no jvp."""

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class OnceNet(Bag):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.encoder = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.function.apply(self.encoder(F.one_hot(x[:, 0] % 3, 3).to(self.encoder.weight))))


class Attention(nn.Module):
    """Fused attention has no forward mode; the mathematical kernel that takes its place has."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.encoder(F.one_hot(x, 8).to(self.head.weight)).mean(1))


class _Float(nn.Module):
    def forward(self, x):
        return x.double()


NETS = {
    "plain": (
        lambda: nn.Sequential(nn.Flatten(), _Float(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
        "forward-over-reverse",
    ),
    "attention": (Attention, "forward-over-reverse"),
    "embedding_bag": (Bag, "central"),
    "no jvp": (lambda: OnceNet(Twice), "reverse-over-reverse"),
    "once_differentiable": (lambda: OnceNet(Once), "central"),
}


@pytest.mark.parametrize("net", NETS)
def test_hessian_product_against_differences_of_gradients(net, relative_error):
    make, way = NETS[net]
    module = make().double()
    x = torch.randint(0, 7, (5, 4))
    parameters = dict(module.named_parameters())
    layout = Layout(parameters)

    def loss(values):
        torch.manual_seed(3)  # dropout
        return torch.func.functional_call(module, dict(values), (x,)).square().sum()

    def gradient(vector):
        leaves = {n: t.clone().requires_grad_() for n, t in layout.unflatten(vector).items()}
        return layout.flatten(torch.autograd.grad(loss(leaves), list(leaves.values()), allow_unused=True))

    hessian = Hessian([Term(1.0, loss, "train")], layout, parameters, Passes())
    vector = torch.randn(layout.size, dtype=torch.float64)
    here = layout.flatten(list(parameters.values()))
    expected = (gradient(here + 1e-5 * vector) - gradient(here - 1e-5 * vector)) / 2e-5
    assert relative_error(f"product, {way}", net, "differences of gradients", hessian(vector), expected) < 1e-6
    assert hessian.way == way
    assert (hessian.note is None) == (way == "forward-over-reverse")


def test_fallbacks_are_reported():
    """Through the public door, in single precision."""
    module, other = Bag(), Bag()
    x = torch.randint(0, 7, (5, 4))
    pretraining = Pretraining(module, lambda m, b: m(b).square().mean(0))
    finetuning = Finetuning(
        other, lambda m, b: m(b).square().mean(), gamma=0.1, shared={"encoder.weight": "encoder.weight"}
    )
    kwargs = {"pretrain_batches": [x], "train_batches": [x], "valid_batches": [x]}
    lam = torch.tensor([0.5, 0.5])
    cg = ConjugateGradient(3, damping=5.0)
    out = hypergradient(pretraining, finetuning, lam, finetune_solver=cg, pretrain_solver=cg, **kwargs)
    assert "reverse-over-reverse products unavailable" in out.reports["finetune"].warning
    with_jvp, with_gradients = (
        hypergradient(pretraining, finetuning, lam, last_step=how, **kwargs) for how in ("jvp", "gradients")
    )
    assert with_jvp.last_step == with_gradients.last_step == "gradients"
    assert torch.equal(with_jvp.gradient, with_gradients.gradient)


def test_a_users_own_error_is_not_swallowed():
    def losses(module, batch):
        raise RuntimeError("shape mismatch in my own code")

    finetuning = Finetuning(Bag(), lambda m, b: m(b).square().mean(), gamma=0.1)
    x = torch.randint(0, 7, (5, 4))
    with pytest.raises(RuntimeError, match="my own code"):
        hypergradient(
            Pretraining(Bag(), losses),
            finetuning,
            torch.ones(2) / 2,
            pretrain_batches=[x],
            train_batches=[x],
            valid_batches=[x],
            pretrain_solver=ConjugateGradient(3),
        )


@pytest.mark.parametrize("way", HVP_PASSES)
def test_stated_passes_are_the_flops_spent(way):
    """A deep stack of matrix products, where a forward pass costs 1, a backward 2 and all else nothing."""
    module = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(32, 32), nn.Tanh())])
    x = torch.randn(16, 32)
    parameters = dict(module.named_parameters())

    def loss(values):
        return torch.func.functional_call(module, dict(values), (x,)).square().mean()

    def flops(function) -> int:
        with FlopCounterMode(display=False) as counter:
            function()
        return counter.get_total_flops()

    forward_pass = flops(lambda: loss(parameters))
    hessian = Hessian([Term(1.0, loss, "train")], Layout(parameters), parameters, Passes())
    hessian.first_use.product = hessian.way = way  # the checks of a first product are not counted
    vector = torch.randn(hessian.layout.size)
    forward, backward = HVP_PASSES[way]
    assert flops(lambda: hessian(vector)) / forward_pass == pytest.approx(forward + 2 * backward, rel=0.1)
