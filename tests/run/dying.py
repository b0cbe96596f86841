"""The real command line, which sends itself a signal at a pass."""

import os
import signal

from hpo_bench.core.meter import CostMeter
from tests.program import hpo_bench


def dying(name, last, *words):
    """`hpo-bench WORDS` until its pass number `last`; then the signal `name`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    count_passes, count = CostMeter.passes, 0

    def passes(self, *samples, **kinds):
        nonlocal count
        count_passes(self, *samples, **kinds)
        count += 1
        if count == last:
            os.kill(os.getpid(), getattr(signal, name))

    CostMeter.passes = passes
    hpo_bench(*words)
