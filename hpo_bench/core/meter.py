"""The bill: every pass of the core goes through one meter.

The unit of work is the step-equivalent: a forward pass of one pretraining batch is 1, a backward pass 2, so a plain
pretraining step is 3. Passes on other batch sizes count by their samples. Seconds are device-synchronised and
exclusive: a phase that starts inside another stops the outer clock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

from hpo_bench.core.cost import Cost as Cost
from hpo_bench.core.device import synchronise

Phase = Literal["pretraining", "adaptation", "hypergradient", "evaluation", "orchestration"]


@dataclass
class CostMeter:
    """Counts passes, FLOPs and seconds. One meter a run; its total survives a kill when the owner saves it."""

    batch_size: int
    device: torch.device
    total: Cost = field(default_factory=Cost)
    flops_per_sample: dict[str, float] = field(default_factory=dict)
    heartbeat: Callable[[], None] | None = None  # called after every pass
    _phases: list[Phase] = field(default_factory=list)
    _since: float = 0.0

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)  # the peak on this bill is this bill's own

    def passes(self, samples: float, *, forward: float = 0, backward: float = 0, kind: str = "pretraining") -> None:
        """Bill `forward` and `backward` passes over `samples` samples; `kind` names whose FLOPs a sample costs."""
        units = (forward + 2 * backward) * samples
        self.total.step_equivalents += units / self.batch_size
        self.total.flops += units * self.flops_per_sample.get(kind, 0.0)
        if self.heartbeat is not None:
            self.heartbeat()

    def calibrate(self, kind: str, samples: float, run: Callable[[], object]) -> None:
        """Count the FLOPs of one forward pass of `run()` over `samples` samples with torch's own counter."""
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
        self.flops_per_sample[kind] = counter.get_total_flops() / samples

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Bill the wall clock inside the block to `name`."""
        self._lap()
        self._phases.append(name)
        try:
            yield
        finally:
            self._lap()
            self._phases.pop()

    def snapshot(self) -> Cost:
        """The bill so far, the running phase included."""
        self._lap()
        self.total.peak_memory_bytes = max(self.total.peak_memory_bytes, peak_memory(self.device))
        return self.total + Cost()

    def add(self, cost: Cost) -> None:
        """Add what another process spent for this run."""
        self.total = self.total + cost

    def _lap(self) -> None:
        if self._phases:
            synchronise(self.device)
        now = time.perf_counter()
        if self._phases:
            key = f"seconds_{self._phases[-1]}"
            setattr(self.total, key, getattr(self.total, key) + now - self._since)
        self._since = now


def peak_memory(device: torch.device) -> int:
    """Peak bytes: allocated on the accelerator, or resident in this process on a CPU; 0 on Windows."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has no such count
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
