"""Methods that look at steps see batches in parts as they see whole ones, at the price that they tell."""

import numpy as np
import pytest
import torch

from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.records.journal import Journal
from hpo_bench.run.config import make_method
from hpo_bench.tasks.digits.task import load


@pytest.fixture(scope="module")
def digits():
    """Neither batch norm nor dropout: parts are the batch to rounding."""
    return load(device=torch.device("cpu"), objectives=("rotation", "masked")).task


@pytest.mark.parametrize(
    ("name", "more"),  # by losses; by losses before and after; by gradients; by gradients that it takes itself
    [("uncertainty", 1), ("famo", 1), ("gradnorm", 0), ("implicit", 0)],
)
def test_the_same_weights_at_the_told_price(make_problem, digits, tmp_path, name, more):
    options = {"warmup": 1, "every": 2, "parametrisation": "mirror"} if name == "implicit" else {}
    method, found = make_method(name, {"retrain_with": "schedule", **options}), []
    for settings in ({}, {"micro_batch_size": 5}):
        problem = make_problem(task=digits, budget="99", steps=6, mode="probe", **settings)
        journal = Journal.open(tmp_path / str(len(found)), problem.meter)
        method.search(problem, journal)
        (trial,) = journal.trials
        spent = problem.meter.total.step_equivalents
        assert spent <= method.expected_cost(problem) * (1 + 1e-9)
        path = WeightSchedule.from_json(trial.schedule)
        found.append((np.stack([path.at(step) for step in range(6)]), trial.value, spent))
    (whole, value, spent), (parts, same, price) = found
    assert np.allclose(whole, parts, atol=2e-3)
    assert len(np.unique(whole[:, 0])) > 1  # it did move
    assert value == pytest.approx(same, abs=0.05)
    looks = sum(method.due(step) for step in range(6))
    assert price == pytest.approx(spent + more * looks)
