"""The problems on which hypergradients are timed."""

from workloads.base import Workload
from workloads.bert import bert
from workloads.gin import gin

WORKLOADS = {"gin": gin, "bert": bert}

__all__ = ["WORKLOADS", "Workload"]
