import pytest
from my_package.corners import Corners

from hpo_bench.testing.method_contract import MethodContract


class TestCorners(MethodContract):
    @pytest.fixture
    def method(self):
        return Corners()
