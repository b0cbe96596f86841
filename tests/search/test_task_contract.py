"""The closed-form task keeps the contract of tasks; other tasks test theirs beside their own tests."""

import pytest

from hpo_bench.tasks import quadratic
from hpo_bench.testing.devices import device_under_test
from hpo_bench.testing.task_contract import TaskContract


class TestQuadratic(TaskContract):
    @pytest.fixture
    def loaded(self):
        return quadratic.load(device_under_test())
