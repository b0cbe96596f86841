"""Molecule tasks keep the contract of tasks."""

import pytest

from hpo_bench.testing.task_contract import TaskContract


class TestMoleculeTask(TaskContract):
    batch_size = 32

    @pytest.fixture
    def loaded(self, loaded):
        return loaded
