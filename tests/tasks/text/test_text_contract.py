"""Text tasks keep the contract of tasks, with labels of every kind and pairs either way."""

import pytest

from hpo_bench.testing.task_contract import TaskContract
from tests.tasks.text.conftest import load


class TestTextTask(TaskContract):
    @pytest.fixture(scope="class", params=["regression", "regression apart", "binary", "classes"])
    def loaded(self, request, bert, tokeniser):
        kind, _, apart = request.param.partition(" ")
        return load(kind, bert, tokeniser, pairs=apart or "joint")
