"""Tasks on images keep the contract of tasks."""

import pytest

from hpo_bench.testing.devices import device_under_test
from hpo_bench.testing.task_contract import TaskContract
from tests.tasks.image.conftest import load


@pytest.fixture(scope="module")
def made(smiles):
    return load(smiles, device_under_test())


class TestImageTask(TaskContract):
    @pytest.fixture
    def loaded(self, made):
        return made
