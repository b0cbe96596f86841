"""Every registered method keeps the contract."""

import pytest

from hpo_bench import registry
from hpo_bench.errors import UserError
from hpo_bench.testing.method_contract import MethodContract

_OPTIONS = {  # the quick problem has 24 steps, and six trials pay for everything
    "implicit": {"warmup": 4},
    "unrolled_head": {"warmup": 4, "every": 8},
    "forkmerge": {"windows": 2, "branches": 2, "grid": 1},
}


class TestRegisteredMethods(MethodContract):
    @pytest.fixture(params=registry.names(registry.METHODS))
    def method(self, request):
        try:
            kind = registry.load(registry.METHODS, request.param)
        except UserError as error:
            if registry.points(registry.METHODS)[request.param].value.startswith("hpo_bench."):
                raise
            pytest.skip(str(error))  # somebody's plug-in
        if request.param == "pbt":
            request.getfixturevalue("ray_running")
            self.interruptions = (0.4,)  # each run takes seconds
        return kind(**_OPTIONS.get(request.param, {}))
