"""Molecule tasks keep the contract of tasks."""

import pytest

from hpo_bench.testing.devices import device_under_test
from hpo_bench.testing.task_contract import TaskContract
from tests.tasks.molecule.conftest import load


@pytest.fixture(scope="module")
def made(bace):
    return load(bace, device_under_test())


class TestMoleculeTask(TaskContract):
    batch_size = 32

    @pytest.fixture
    def loaded(self, made):
        return made
