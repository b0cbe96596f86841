"""Continued pretraining: what the weights do, and that a broken run goes on bit-identically."""

import json

import numpy as np
import pytest
import torch

from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged, Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.tasks.quadratic import load
from tests.program import Program, result_of

EQUAL = WeightSchedule.constant([1 / 3] * 3)
CHANGING = WeightSchedule(((0, (1.0, 0.0, 0.0)), (5, (0.0, 1.0, 0.0)), (13, (0.2, 0.3, 0.5))))


def trained(problem, schedule, steps):
    trainer = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    trainer.run(schedule, steps)
    return trainer


def theta(trainer):
    return trainer.model.encoder.theta.detach()


def test_training_ends_at_the_weighted_mean_of_the_centres(make_problem):
    weights = [0.6, 0.1, 0.3]
    trainer = trained(make_problem(steps=300), WeightSchedule.constant(weights), 300)
    optimum = torch.tensor(weights) @ trainer.task.centres
    assert torch.allclose(theta(trainer), optimum, atol=0.01)  # Adam at rate 0.01 circles the optimum


def test_a_resumed_run_is_bit_identical_to_an_unbroken_one(make_problem, network, tmp_path, same_state):
    """With dropout and batch norm, and weights that change before and after the break."""
    unbroken = trained(make_problem(task=network), CHANGING, 20)
    first = trained(make_problem(task=network), CHANGING, 10)
    save_state(tmp_path / "state", first.state_dict())
    torch.rand(17)  # whatever else draws from the global generator
    problem = make_problem(task=network)
    second = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    second.load_state_dict(load_state(tmp_path / "state"))
    second.run(CHANGING, 20)
    assert second.step_number == 20
    assert same_state(dict(second.model.state_dict()), dict(unbroken.model.state_dict()))
    assert same_state(second.optimizer.state_dict()["state"], unbroken.optimizer.state_dict()["state"])


def go_on(settings, folder):
    """From the state in a folder to step 20."""
    torch.set_num_threads(1)
    protocol, cpu = Protocol(**settings), torch.device("cpu")
    trainer = Pretrainer(load(cpu).task, protocol, 0, CostMeter(protocol.batch_size, cpu))
    trainer.load_state_dict(load_state(folder / "state"))
    trainer.run(CHANGING, 20)
    save_state(folder / "after", trainer.state_dict())


def test_a_fresh_process_goes_on_bit_identically(make_problem, tmp_path):
    problem = make_problem()
    unbroken = trained(problem, CHANGING, 20)
    save_state(tmp_path / "state", trained(make_problem(), CHANGING, 10).state_dict())
    done = result_of(Program(go_on, problem.protocol.to_json(), tmp_path, cwd=tmp_path))
    assert done.returncode == 0, done.stderr
    after = load_state(tmp_path / "after")
    assert torch.equal(after["model"]["encoder.theta"], theta(unbroken))
    assert after["step"] == 20


def test_a_schedule_is_followed_step_by_step(make_problem, network, same_state):
    by_schedule = trained(make_problem(task=network), CHANGING, 20)
    problem = make_problem(task=network)
    by_hand = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    for step in range(20):
        by_hand.step(torch.tensor(CHANGING.at(step), dtype=torch.float32), by_hand.draw_batch(step))
    assert same_state(dict(by_hand.model.state_dict()), dict(by_schedule.model.state_dict()))


def test_a_scheduled_rate_is_used_and_survives_a_pause(make_problem, network, same_state):
    settings = {"warmup": 0.25, "decay": "cosine", "steps": 20}
    problem = make_problem(task=network, **settings)
    paused = trained(problem, EQUAL, 7)
    assert paused.optimizer.param_groups[0]["lr"] == problem.protocol.rate(6)
    other = make_problem(task=network, **settings)
    resumed = Pretrainer(other.task, other.protocol, other.seed, other.meter)
    resumed.load_state_dict(paused.state_dict())
    resumed.run(EQUAL, 20)
    whole = trained(make_problem(task=network, **settings), EQUAL, 20)
    assert same_state(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_batches_depend_on_seed_and_step_alone(make_problem):
    problem = make_problem()
    trainer = trained(problem, EQUAL, 3)
    fresh = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    assert torch.equal(trainer.draw_batch(7), fresh.draw_batch(7))
    assert not torch.equal(trainer.draw_batch(7), trainer.draw_batch(8))
    other = make_problem(seed=1)
    stranger = Pretrainer(other.task, other.protocol, other.seed, other.meter)
    assert not torch.equal(trainer.draw_batch(7), stranger.draw_batch(7))


def test_an_objective_of_weight_zero_moves_nothing(make_problem, network):
    """Its own head included: with weight 1 on objective 0, the heads of 1 and 2 stay."""
    trainer = trained(make_problem(task=network), WeightSchedule.constant([1, 0, 0]), 5)
    before, after = network.build_model().heads.weight, trainer.model.heads.weight
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


def test_the_callback_sees_every_step_and_losses(make_problem):
    problem, seen = make_problem(), []
    trainer = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    last = trainer.run(EQUAL, 6, lambda step, losses: seen.append((step, losses.tolist())))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][1] == last.tolist()
    assert np.isfinite(seen[0][1]).all()


@pytest.mark.parametrize("steps", [3, 60])
def test_a_huge_learning_rate_is_told_as_divergence(make_problem, steps):
    problem = make_problem(steps=steps, learning_rate=1e30)
    with pytest.raises(Diverged, match=r"signal.*partial.*harmful"):
        trained(problem, EQUAL, steps)


def test_a_step_costs_three_and_its_flops_are_counted(make_problem, network):
    problem = make_problem(task=network)
    trainer = Pretrainer(problem.task, problem.protocol, problem.seed, problem.meter)
    for step in range(4):  # as a method does that steps by itself
        trainer.step(torch.full((3,), 1 / 3), trainer.draw_batch(step))
    size, width = problem.protocol.batch_size, 8
    assert problem.meter.total.step_equivalents == 4 * 3
    products = 2 * size * width * width + 2 * size * width * 3 + 2 * size * width * 3  # encoder, heads, the labels
    assert problem.meter.total.flops == 4 * 3 * products


def test_counting_flops_changes_no_number(make_problem, network, same_state):
    counted = trained(make_problem(task=network), EQUAL, 5)
    problem = make_problem(task=network)
    problem.meter.flops_per_sample["pretraining"] = 1.0  # known already
    uncounted = trained(problem, EQUAL, 5)
    assert same_state(dict(counted.model.state_dict()), dict(uncounted.model.state_dict()))


def test_bf16_trains_and_differs_from_fp32(make_problem, network):
    half = trained(make_problem(task=network, precision="bf16"), EQUAL, 20)
    full = trained(make_problem(task=network), EQUAL, 20)
    weight = [t.model.encoder[0].weight.detach() for t in (half, full)]
    assert weight[0].dtype == torch.float32
    assert not torch.equal(*weight)
    assert torch.allclose(*weight, atol=0.05)


def test_losses_of_half_precision_are_weighted_in_full(make_problem, network):
    """0.3 has no exact bfloat16: the gradient must not be that of the rounded weight."""

    class Half(type(network)):
        def objective_losses(self, model, batch):
            return (model.heads.bias * torch.ones(3)).bfloat16()

    task = Half(network.train, network.valid, network.centres, network.device)
    problem = make_problem(task=task)
    trainer = Pretrainer(task, problem.protocol, 0, problem.meter)
    trainer.step(torch.tensor([0.301, 0.302, 0.397]), trainer.draw_batch(0))
    found = trainer.model.heads.bias.grad
    assert torch.allclose(found, torch.tensor([0.301, 0.302, 0.397]).bfloat16().float(), atol=1e-6)


def test_the_state_holds_json_and_tensors_alone(make_problem):
    def plain(value):
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else 0 if torch.is_tensor(value) else value

    json.dumps(plain(trained(make_problem(), EQUAL, 2).state_dict()))
