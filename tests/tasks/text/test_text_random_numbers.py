"""The rule that matters most for text, whose losses hold dropout: passes that are compared see the same numbers."""

import pytest
import torch

import tapweight
from hpo_bench.core.adaptation import AdaptedModel
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import generator
from tests.tasks.text.conftest import load

OBJECTIVES = ("mlm", "contrast", "sop", "rtd", "span")


@pytest.fixture(scope="module")
def levels(bert, tokeniser):
    """Three levels of a text task in float64, dropout on."""
    task = load("regression", bert, tokeniser, objectives=OBJECTIVES).task
    model = task.build_model().double().train()
    assert any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in model.modules())
    tuned = AdaptedModel.start(task, model.encoder, Protocol(), seed=1).double().train()

    def loss(adapted, batch):
        split, rows = batch
        return task.task_loss(adapted.outputs(task, split.inputs, rows), split.labels[rows])

    batch = task.draw_batch(16, generator(task.device, 0, "rule"))
    rows = torch.arange(16)

    def run(last_step, seed=3, solver="identity"):
        return tapweight.hypergradient(
            tapweight.Pretraining(model, task.objective_losses),
            tapweight.Finetuning(tuned, loss, gamma=0.1),
            torch.full((len(OBJECTIVES),), 1 / len(OBJECTIVES), dtype=torch.float64),
            pretrain_batches=[batch],
            train_batches=[(task.train, rows)],
            valid_batches=[(task.valid, rows)],
            pretrain_solver=tapweight.solvers.by_name(
                solver, optimizer=torch.optim.Adam(model.parameters()), damping=100.0
            ),
            last_step=last_step,
            seed=seed,
        ).gradient

    return run


@pytest.mark.parametrize("how", ["central", "jvp"])
def test_the_directional_derivatives_agree_under_one_seed(levels, how):
    exact = levels("gradients")
    assert (exact.abs() > 0).all()
    torch.testing.assert_close(levels(how), exact, rtol=1e-4, atol=1e-7 * float(exact.abs().max()))


def test_another_seed_is_another_derivative(levels):
    """So the agreement above is no accident: dropout alone moves the derivatives by far more than its tolerance."""
    exact, other = levels("gradients"), levels("gradients", seed=4)
    assert ((exact - other).abs() > 1e-2 * exact.abs()).any()


def test_products_with_the_hessian_pass_through_the_encoder(levels):
    """Conjugate gradient differentiates twice: attention and its dropout must have second derivatives."""
    found = levels("central", solver="cg")
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, levels("central"))
