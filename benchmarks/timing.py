"""Timing alternatives side by side: every one once a round, in an order that rotates."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Variant:
    """A block of `iterations` iterations, and the call that makes them."""

    iterations: int
    call: Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """Ratios to the first variant: median and quartiles of time over rounds, peak memory; `seconds` an iteration."""

    name: str
    seconds: float
    median: float
    low: float
    high: float
    memory: float


def measure(variants: dict[str, Variant], rounds: int, device: torch.device, clock: Callable[[], float]) -> list[Row]:
    """Time all variants in each round; a round's ratios are to that round's time of the first variant."""
    names = list(variants)
    memory = {name: peak_bytes(variant.call, device) for name, variant in variants.items()}  # a warm-up, too
    took: dict[str, list[float]] = {name: [] for name in names}
    for r in range(rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            variant = variants[name]
            took[name].append(seconds(variant.call, device, clock) / variant.iterations)
    rows = []
    for name in names:
        ratios = [own / plain for own, plain in zip(took[name], took[names[0]], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if rounds > 1 else (ratios[0],) * 3
        middle = statistics.median(ratios)
        rows.append(Row(name, statistics.median(took[name]), middle, low, high, memory[name] / memory[names[0]]))
    return rows


def seconds(call: Callable[[], Any], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Of one call, the device's queue included."""
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Most bytes allocated during the call above what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    call()  # the first call allocates what stays: an optimiser's state
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak
