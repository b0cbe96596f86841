"""Text tasks keep the contract of tasks, with labels of every kind and pairs either way."""

import pytest

from hpo_bench.testing.devices import device_under_test
from hpo_bench.testing.task_contract import TaskContract
from tests.tasks.text.conftest import load


@pytest.fixture(scope="module", params=["regression", "regression apart", "binary", "classes"])
def made(request, bert, tokeniser):
    kind, _, apart = request.param.partition(" ")
    return load(kind, bert, tokeniser, pairs=apart or "joint", device=device_under_test())


class TestTextTask(TaskContract):
    @pytest.fixture
    def loaded(self, made):
        return made
