"""Figures and tables call metrics by the names that readers know."""

from hpo_bench.compare.style import METRIC_NAMES
from hpo_bench.tasks.metrics import METRICS


def test_every_metric_of_a_shipped_task_has_a_name_in_print():
    assert set(METRICS) <= set(METRIC_NAMES)
