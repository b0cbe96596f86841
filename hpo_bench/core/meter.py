"""The bill: every pass of the core goes through one meter.

The unit of work is the step-equivalent: a forward pass of one pretraining batch is 1, a backward pass 2, so a plain
pretraining step is 3. Passes on other batch sizes count by their samples. Seconds are device-synchronised and exclusive:
a phase that starts inside another stops the outer clock.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

import torch

from hpo_bench.core.device import synchronise

Phase = Literal["pretraining", "adaptation", "hypergradient", "evaluation", "orchestration"]


@dataclass
class Cost:
    """What something cost. Adding two costs adds work and time and takes the larger peak memory."""

    step_equivalents: float = 0.0
    flops: float = 0.0
    seconds_pretraining: float = 0.0
    seconds_adaptation: float = 0.0
    seconds_hypergradient: float = 0.0
    seconds_evaluation: float = 0.0
    seconds_orchestration: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def seconds_training(self) -> float:
        return self.seconds_pretraining + self.seconds_adaptation + self.seconds_hypergradient

    @property
    def seconds(self) -> float:
        """All seconds on the bill."""
        return self.seconds_training + self.seconds_evaluation + self.seconds_orchestration

    def __add__(self, other: Cost) -> Cost:
        total = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)}
        total["peak_memory_bytes"] = max(self.peak_memory_bytes, other.peak_memory_bytes)
        return Cost(**total)

    def __sub__(self, other: Cost) -> Cost:
        rest = {f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(Cost)}
        rest["peak_memory_bytes"] = self.peak_memory_bytes
        return Cost(**rest)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Cost:
        known = {f.name for f in fields(Cost)}
        return cls(**{key: value for key, value in data.items() if key in known})


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

    def passes(self, samples: float, *, forward: float = 0, backward: float = 0, kind: str = "pretraining") -> None:
        """Bill `forward` and `backward` passes over `samples` samples; `kind` names whose FLOPs a sample costs."""
        units = (forward + 2 * backward) * samples
        self.total.step_equivalents += units / self.batch_size
        self.total.flops += units * self.flops_per_sample.get(kind, 0.0)
        if self.heartbeat is not None:
            self.heartbeat()

    def calibrate(self, kind: str, samples: int, run: Callable[[], object]) -> None:
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
    """Peak bytes: allocated on the accelerator, or resident in this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
