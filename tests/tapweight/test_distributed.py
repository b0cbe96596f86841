"""DistributedDataParallel: two real processes learn the weights that one learns from the whole batch."""

from __future__ import annotations

import socket

import pytest
import torch
from tapweight_problems import Networks
from torch.distributed import is_available

from tapweight import Finetuning, Implicit, Learner, ObjectiveWeights, Pretraining, WeightLearner, solvers
from tests.program import Program

STEPS = 6


def learn(wrap, share, solver) -> torch.Tensor:
    """Weights after a short run; `share(batch)` picks a process's rows."""
    problem = Networks(0)
    modules = [wrap(level.module) for level in (problem.pretraining, problem.finetuning)]
    levels = Pretraining(modules[0], problem.losses), Finetuning(modules[1], problem.loss, gamma=problem.gamma)
    estimator = Implicit(finetune_solver=solver, pretrain_solver=solver)
    weights = ObjectiveWeights(3, parametrisation="mirror", lr=30.0)
    learner = Learner(
        WeightLearner(*levels, weights, estimator=estimator, every=2),
        *(torch.optim.SGD(module.parameters(), lr=0.05) for module in modules),
    )
    for _ in range(STEPS):
        learner.step(*(share(problem.batches[f"{level}_batches"][0]) for level in ("pretrain", "train", "valid")))
    return weights.values


SOLVERS = {"identity": solvers.Identity(), "cg": solvers.ConjugateGradient(50, damping=5.0, tolerance=1e-10)}


def one_process(rank: int, port: int) -> None:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name, solver in SOLVERS.items():
        values = learn(DistributedDataParallel, lambda batch: tuple(part[rank::2] for part in batch), solver)
        print(name, " ".join(float(value).hex() for value in values), flush=True)
    dist.destroy_process_group()


@pytest.mark.skipif(not is_available(), reason="this torch has no torch.distributed")
def test_two_processes_learn_the_weights_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [Program(one_process, rank, port, cwd=tmp_path) for rank in range(2)]
    try:
        told = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told[0][1] + told[1][1]
    assert told[0][0] == told[1][0]  # the same bits on both
    lines = [line.split() for line in told[0][0].splitlines()]
    found = {name: [float.fromhex(value) for value in values] for name, *values in lines}
    for name, solver in SOLVERS.items():
        alone = learn(lambda module: module, lambda batch: batch, solver)
        torch.testing.assert_close(torch.tensor(found[name], dtype=torch.float64), alone, rtol=1e-9, atol=0)
        assert float((alone - 1 / 3).abs().max()) > 5e-3  # something was learned


def test_sharded_parameters_are_refused():
    problem = Networks(0)
    problem.pretraining.module.head.weight.device_mesh = "a mesh"
    learner = WeightLearner(problem.pretraining, problem.finetuning, ObjectiveWeights(3))
    with pytest.raises(ValueError, match="sharded"):
        learner.update(*problem.batches.values())
