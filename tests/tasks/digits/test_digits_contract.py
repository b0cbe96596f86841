"""Digits keep the contract of tasks, with everything planted as well."""

import pytest
import torch

from hpo_bench.tasks.digits.task import load
from hpo_bench.testing.task_contract import TaskContract


@pytest.fixture(scope="module", params=["as it is", "planted"])
def made(request):
    plant = ["noise", "harmful", "oracle"] if request.param == "planted" else None
    return load(device=torch.device("cpu"), plant=plant)


class TestDigits(TaskContract):
    @pytest.fixture
    def loaded(self, made):
        return made
