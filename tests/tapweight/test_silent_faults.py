"""What would give a wrong number without a word: the right value, or an error that names cause and remedy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tapweight_problems import Mlp, Networks, Quadratic
from torch import nn
from torch.utils.checkpoint import checkpoint

from tapweight import (
    Finetuning,
    HypergradientFailure,
    Learner,
    ObjectiveWeights,
    Pretraining,
    Probe,
    WeightLearner,
    hypergradient,
    solvers,
    unrolled_hypergradient,
)


def of(problem: Networks, losses=None, loss=None, module=None, **options):
    """The hypergradient with some parts exchanged."""
    pretraining = Pretraining(module or problem.pretraining.module, losses or problem.losses)
    finetuning = Finetuning(problem.finetuning.module, loss or problem.loss, gamma=problem.gamma)
    return hypergradient(pretraining, finetuning, problem.lam, **{**problem.batches, **options})


def with_a_teacher(problem: Networks, stop):
    """SimSiam's shape: the second objective compares with its own output, through which no gradient goes."""

    def losses(module, batch):
        x, y = batch
        out = module(x)
        with stop(out) as target:
            distance = (out.flip(0) - target).square().mean()
        return torch.stack([(out - y).square().mean(), distance, out.square().mean()])

    return losses


class Detach:
    def __init__(self, out):
        self.target = out.detach()

    def __enter__(self):
        return self.target

    def __exit__(self, *_):
        pass


def test_a_stop_gradient_is_not_differentiated():
    """Against K backward passes; central differences, which see values alone, are off by 14 %."""
    problem = Networks(0)
    losses = with_a_teacher(problem, Detach)
    exact = of(problem, losses, last_step="gradients").gradient
    default = of(problem, losses)
    assert default.last_step == "jvp"
    np.testing.assert_allclose(default.gradient, exact, rtol=1e-9)
    central = of(problem, losses, last_step="central").gradient
    assert float((central - exact).norm() / exact.norm()) > 0.1


def test_no_grad_within_a_loss_is_found_out():
    """Forward mode goes through `no_grad`; the check of first use sees it and takes gradients from then on."""
    problem = Networks(0)

    def losses(module, batch):
        x, y = batch
        with torch.no_grad():
            target = module(x)
        out = module(x)
        return torch.stack([(out - y).square().mean(), (out.flip(0) - target).square().mean(), out.square().mean()])

    exact = of(problem, losses, last_step="gradients").gradient
    pretraining = Pretraining(problem.pretraining.module, losses)
    for _ in range(2):
        found = hypergradient(pretraining, problem.finetuning, problem.lam, **problem.batches)
        assert found.last_step == "gradients"
        np.testing.assert_allclose(found.gradient, exact, rtol=1e-9)


def test_a_gradient_penalty_within_the_losses():
    problem = Networks(0)

    def losses(module, batch):
        x = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
        return problem.losses(module, batch) * torch.stack([slope.square().sum(), slope.norm(), 1 + 0 * slope.norm()])

    found = of(problem, losses)
    assert found.last_step == "gradients"
    np.testing.assert_allclose(found.gradient, of(problem, losses, last_step="gradients").gradient, rtol=1e-9)
    with pytest.raises(ValueError, match="gradient penalty"):
        of(problem, losses, last_step="central")


def test_forward_and_backward_mode_are_compared_under_the_same_attention():
    """On CUDA attention's kernels draw their dropout in ways of their own: a dual pass takes the plain one, always."""
    problem = Networks(0)

    def losses(module, batch):
        drawn = torch.rand(2)  # a loss that is another one where a quick kernel may be chosen
        return problem.losses(module, batch) * (1 + drawn[int(torch.backends.cuda.flash_sdp_enabled())])

    assert torch.backends.cuda.flash_sdp_enabled()
    found = of(problem, losses, last_step="jvp")
    assert torch.isfinite(found.gradient).all()


@pytest.mark.parametrize("how", ["detach", "no_grad", "reentrant"])
def test_a_task_loss_that_does_not_reach_the_encoder(how):
    problem = Networks(0)

    def loss(module, batch):
        x, y = batch
        if how == "detach":
            features = module.encoder(x).detach()
        elif how == "no_grad":
            with torch.no_grad():
                features = module.encoder(x)
        else:
            features = checkpoint(module.encoder, x, use_reentrant=True)
        return (module.head(features) - y[:, :1]).square().mean()

    with pytest.raises(HypergradientFailure, match="no gradient of the valid loss reaches the encoder"):
        of(problem, loss=loss)


def test_objectives_that_reach_nothing():
    problem = Networks(0)
    with pytest.raises(HypergradientFailure, match="no gradient of any objective"):
        of(problem, lambda m, b: problem.losses(m, b).detach())
    probe = Probe(lambda m, b: m.encoder(b[0]).detach(), lambda b: b[1][:, :1])
    with pytest.raises(HypergradientFailure, match="no gradient of the validation loss of the probe"):
        hypergradient(problem.pretraining, probe, problem.lam, **problem.batches)


class Careless(torch.autograd.Function):
    """tanh whose backward pass is right and, as numpy would give it, has no derivative of its own."""

    @staticmethod
    def forward(ctx, x):
        out = x.tanh()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved_tensors
        return grad * (1 - out.detach().square())


class CarelessTanh(nn.Module):
    def forward(self, x):
        return Careless.apply(x)


def test_products_with_a_hessian_that_lacks_a_part_are_found_out():
    """Against the same network with torch's tanh; without the check the solution is off by several per cent."""
    problem, true = Networks(0), Networks(0)
    for module in (problem.pretraining.module, problem.finetuning.module):
        module.encoder[1] = CarelessTanh()
    cg = solvers.ConjugateGradient(200, damping=5.0, tolerance=1e-12)
    found, truth = (of(p, finetune_solver=cg, pretrain_solver=cg) for p in (problem, true))
    np.testing.assert_allclose(found.gradient, truth.gradient, rtol=1e-5)
    for report in found.reports.values():
        assert "custom function's backward pass has no derivative" in report.warning


@pytest.mark.parametrize("kind", ["checkpoint", "weight_norm", "compiled"])
def test_modules_with_a_way_of_their_own(kind):
    problem, true = Networks(0), Networks(0)
    if kind == "weight_norm":
        for p in (problem, true):
            for module in (p.pretraining.module, p.finetuning.module):
                nn.utils.parametrizations.weight_norm(module.encoder[0])
    encoder = problem.pretraining.module.encoder
    if kind == "checkpoint":
        forward = encoder.forward
        encoder.forward = lambda x: checkpoint(forward, x, use_reentrant=False)
    if kind == "compiled":
        problem.pretraining.module.encoder = torch.compile(encoder, backend="aot_eager")
    cg = solvers.ConjugateGradient(200, damping=5.0, tolerance=1e-12)
    found = of(problem, finetune_solver=cg, pretrain_solver=cg)
    pretraining = Pretraining(true.pretraining.module, true.losses)
    pretraining.first_use.product = "central"
    finetuning = Finetuning(true.finetuning.module, true.loss, gamma=true.gamma)
    finetuning.first_use.product = "central"  # the truth: differences of exact gradients
    truth = hypergradient(
        pretraining,
        finetuning,
        true.lam,
        finetune_solver=cg,
        pretrain_solver=cg,
        last_step="gradients",
        **true.batches,
    )
    np.testing.assert_allclose(found.gradient, truth.gradient, rtol=1e-5)


@pytest.mark.parametrize("wrapper", ["compile", "data parallel"])
def test_wrapped_modules_share_their_encoder(wrapper):
    problem, plain = Networks(0), Networks(0)
    wrap = (lambda m: torch.compile(m, backend="eager")) if wrapper == "compile" else nn.DataParallel
    problem.pretraining.module = wrap(problem.pretraining.module)
    found, expected = (
        hypergradient(p.pretraining, p.finetuning, p.lam, **p.batches).gradient for p in (problem, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_embedding_that_forward_passes_change_is_refused():
    problem = Networks(0)
    problem.pretraining.module.extra = nn.Embedding(3, 2, max_norm=1.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="max_norm"):
        of(problem)


class Twice(nn.Module):
    """One layer used twice: kept under one name, under two, or as two modules with the same parameters."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.encoder = nn.Module()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder.a = nn.Linear(3, 3, dtype=torch.float64)
            self.encoder.norm = nn.BatchNorm1d(3, dtype=torch.float64)
        if how == "two names":
            self.encoder.b, self.encoder.again = self.encoder.a, self.encoder.norm
        if how == "tied":
            self.encoder.b = nn.Linear(3, 3, dtype=torch.float64)
            self.encoder.b.weight, self.encoder.b.bias = self.encoder.a.weight, self.encoder.a.bias

    def forward(self, x):
        part = self.encoder
        hidden = torch.tanh(part.norm(part.a(x)))
        return getattr(part, "b", part.a)(getattr(part, "again", part.norm)(hidden))


@pytest.mark.parametrize("last_step", ["jvp", "gradients", "central", "forward"])
def test_a_module_under_two_names_keeps_its_parameters(last_step):
    problem, found = Networks(0), []
    for how in ("one name", "two names", "tied"):
        pretraining = Pretraining(Twice(how), problem.losses)
        finetuning = Finetuning(Twice(how), problem.loss, gamma=0.5)
        before = [*pretraining.module.parameters(), *finetuning.module.parameters()]
        values = [tensor.clone() for tensor in before]
        cg = solvers.ConjugateGradient(50, damping=5.0)
        once, again = (
            hypergradient(
                pretraining, finetuning, problem.lam, last_step=last_step, finetune_solver=cg, **problem.batches
            ).gradient
            for _ in range(2)
        )
        found.append(once)
        np.testing.assert_array_equal(once, again)
        after = [*pretraining.module.parameters(), *finetuning.module.parameters()]
        assert all(a is b for a, b in zip(before, after, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(values, after, strict=True))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)


def test_a_module_without_tensors_may_have_two_names():
    problem, plain = Networks(0), Networks(0)
    problem.pretraining.module.again = problem.pretraining.module.more = nn.Dropout(0.1)
    np.testing.assert_array_equal(of(problem).gradient, of(plain).gradient)


def test_a_loss_that_changes_a_parameter_is_told():
    problem = Networks(0)

    def losses(module, batch):
        with torch.no_grad():
            problem.pretraining.module.head.bias.add_(1.0)
        return problem.losses(module, batch)

    with pytest.raises(RuntimeError, match=r"changed parameter 'head.bias' in place"):
        of(problem, losses, last_step="gradients")


def test_sparse_gradients_are_those_of_dense_ones():
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)

        a = nn.Module()
        a.encoder = nn.Embedding(7, 3, sparse=sparse, dtype=torch.float64)
        b = copy.deepcopy(a)
        x = torch.tensor([0, 1, 2, 2])
        out = hypergradient(
            Pretraining(a, lambda m, b: m.encoder(b).square().mean(0)),
            Finetuning(b, lambda m, b: m.encoder(b).cos().mean(), gamma=0.1),
            torch.ones(3) / 3,
            pretrain_batches=[x],
            train_batches=[x],
            valid_batches=[x],
            last_step="gradients",
        )
        found.append(out.gradient)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_call_under_no_grad_and_inference_mode_is_a_call():
    problem = Networks(0)
    expected = of(problem).gradient
    with torch.no_grad():
        assert torch.equal(of(problem).gradient, expected)
    with torch.inference_mode():
        assert torch.equal(of(problem).gradient, expected)
        assert not torch.is_grad_enabled()


def test_random_numbers_of_numpy_are_found_out():
    problem = Networks(0)
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no numpy"):
        of(problem, lambda m, b: problem.losses(m, b) * float(generator.uniform(1, 2)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"last_step": "nonsense"}, ValueError, "unknown last_step 'nonsense'"),
        ({"valid_batches": torch.utils.data.DataLoader([1, 2])}, TypeError, r"list\(loader\)"),
        ({"valid_batches": torch.zeros(2, 3)}, TypeError, r"\[batch\] for one"),
        ({"pretrain_batches": []}, ValueError, "no batches"),
        ({"levels": 4}, ValueError, "must be 3 or 2"),
    ],
)
def test_arguments_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        of(Networks(0), **options)


def test_an_empty_validation_batch():
    problem = Networks(0)
    x, y = problem.batches["valid_batches"][0]
    with pytest.raises(HypergradientFailure, match="batch is empty"):
        of(problem, valid_batches=[(x[:0], y[:0])])
    finetuning = Finetuning(problem.finetuning.module, problem.loss, gamma=1.0, batch_size=lambda b: len(b[0]))
    with pytest.raises(ValueError, match="0 samples"):
        hypergradient(
            problem.pretraining, finetuning, problem.lam, **{**problem.batches, "valid_batches": [(x[:0], y[:0])]}
        )


@pytest.mark.parametrize("weights", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [float("nan"), 0.5, 0.5], [[0.5, 0.3, 0.2]]])
def test_weights_off_the_simplex(weights):
    problem = Networks(0)
    with pytest.raises(ValueError, match="sum to 1"):
        hypergradient(problem.pretraining, problem.finetuning, torch.tensor(weights), **problem.batches)


def test_a_scalar_loss_for_k_weights():
    problem = Networks(0)
    with pytest.raises(ValueError, match="one mean loss per objective"):
        of(problem, lambda m, b: problem.losses(m, b).mean())
    with pytest.raises(ValueError, match="one mean loss per objective"):
        unrolled_hypergradient(
            Pretraining(problem.pretraining.module, lambda m, b: problem.losses(m, b).mean()),
            problem.finetuning,
            problem.lam,
            pretrain_steps=1,
            finetune_steps=1,
            pretrain_lr=0.1,
            finetune_lr=0.1,
            **problem.batches,
        )


def test_a_nan_objective_is_not_a_matter_of_damping():
    problem = Networks(0)
    nan = torch.tensor([1.0, float("nan"), 1.0], dtype=torch.float64)
    cg = solvers.ConjugateGradient(5, damping=1.0)
    for solver in (cg, solvers.Identity()):
        with pytest.raises(HypergradientFailure, match="not finite"):
            of(problem, lambda m, b: problem.losses(m, b) * nan, pretrain_solver=solver)


@pytest.mark.parametrize("solver", [solvers.ConjugateGradient, solvers.Exact, solvers.Neumann, solvers.Nystrom])
@pytest.mark.parametrize("damping", [-1.0, float("nan"), float("inf")])
def test_damping_that_is_none(solver, damping):
    with pytest.raises(ValueError, match="damping is"):
        solver(damping=damping)


def test_one_encoder_at_both_of_three_levels():
    problem = Networks(0)
    problem.finetuning.module.encoder = problem.pretraining.module.encoder
    with pytest.raises(ValueError, match="both levels hold one encoder"):
        hypergradient(problem.pretraining, problem.finetuning, problem.lam, **problem.batches)
    with pytest.raises(ValueError, match="both levels hold one encoder"):
        WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3))


def test_optimisers_that_cannot_be_meant():
    problem = Networks(0)
    learner = WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3))
    sgds = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (problem.pretraining.module, problem.finetuning.module)]
    with pytest.raises(ValueError, match="another model's"):
        Learner(learner, torch.optim.SGD(Mlp(3).parameters(), lr=0.1), sgds[1])
    with pytest.raises(ValueError, match="another model's"):
        Learner(learner, sgds[0], torch.optim.SGD(Mlp(3).parameters(), lr=0.1))
    with pytest.raises(ValueError, match="LBFGS"):
        Learner(learner, torch.optim.LBFGS(problem.pretraining.module.parameters()), sgds[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": float("nan")}, "every is nan"),
        ({"every": 2.5}, "every is 2.5"),
        ({"patience": -1}, "patience is -1"),
        ({"patience": float("nan")}, "patience is nan"),
    ],
)
def test_a_learner_that_would_never_move_or_always_fail(options, message):
    problem = Networks(0)
    with pytest.raises(ValueError, match=message):
        WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3), **options)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: (m(b[0]) - b[1]).square().mean(1), r"gave a tensor of shape \(\d+,\), expected a scalar"),
        (lambda m, b: 1.0, "gave a float, expected a scalar"),
    ],
)
def test_a_task_loss_that_is_no_scalar(loss, message):
    with pytest.raises(ValueError, match=message):
        of(Networks(0), loss=loss)


def test_the_check_of_symmetry_passes_where_the_hessian_is_right():
    """On ill-conditioned quadratics, whatever the right-hand side: no false alarm."""
    for seed in range(5):
        problem = Quadratic(seed, conditioning=1e6)
        exact = solvers.Exact()
        found = hypergradient(
            *problem.levels(), problem.lam, finetune_solver=exact, pretrain_solver=exact, **problem.batches
        )
        assert found.reports["pretrain"].warning is None
        assert found.reports["finetune"].warning is None
