"""Tasks on images keep the contract of tasks."""

import pytest

from hpo_bench.testing.task_contract import TaskContract


class TestImageTask(TaskContract):
    @pytest.fixture
    def loaded(self, loaded):
        return loaded
