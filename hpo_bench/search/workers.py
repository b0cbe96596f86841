"""What a worker does: a piece of a problem's work, in a process of Ray's, telling what it costs; it writes no file."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpo_bench import registry
from hpo_bench.core.budget import Budget
from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.core.memory import memory_told
from hpo_bench.core.meter import Cost, CostMeter
from hpo_bench.core.problem import Problem, ProblemSpec
from hpo_bench.core.protocol import Protocol
from hpo_bench.records.environment import describe_node
from hpo_bench.tasks.base import Task

_TELL = 1.0  # seconds between two words of a worker: at most this much of a lost piece goes unbilled

Work = Callable[..., Any]  # takes the problem and a piece's arguments; a function of a module


def attend(
    work: Work, source: list[Any], spec: ProblemSpec, processes: int, arguments: tuple[Any, ...]
) -> Iterator[dict[str, Any] | Cost | tuple[Any, Cost]]:
    """In a worker: who this is, what the piece has cost so far, again and again, and (result, cost) at last."""
    import ray

    yield _hardware(ray.get_runtime_context().get_node_id())
    told: list[Cost] = []
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(_attend, work, source, spec, processes, arguments, told)
        heard = 0
        while wait([future], timeout=_TELL).not_done:
            if len(told) > heard:
                heard = len(told)
                yield told[-1]
        yield future.result()


def _attend(
    work: Work, source: list[Any], spec: ProblemSpec, processes: int, arguments: tuple[Any, ...], told: list[Cost]
) -> tuple[Any, Cost]:
    problem = _problem(source, spec, processes)
    with memory_told(), billed(problem.meter, told.append) as spent:
        result = work(problem, *fetched(arguments))
        return result, spent()


@contextmanager
def billed(meter: CostMeter, tell: Callable[[Cost], None]) -> Iterator[Callable[[], Cost]]:
    """Tell what the block has cost, about once a second; yields a function that returns the cost so far."""
    before, said = meter.snapshot(), time.monotonic()

    def spent() -> Cost:
        return meter.snapshot() - before

    def beat() -> None:
        nonlocal said
        if time.monotonic() - said > _TELL:
            said = time.monotonic()
            tell(spent())

    meter.heartbeat = beat
    try:
        yield spent
    finally:
        meter.heartbeat = None


_made: tuple[Any, Problem] | None = None  # of a worker process: the problem that it made last


def _problem(source: list[Any], spec: ProblemSpec, processes: int) -> Problem:
    """The problem, with its data out of Ray's store, or from this machine's files where that is empty."""
    global _made
    import ray

    key = (tuple(ref.hex() for ref in source), spec, processes)
    if _made is None or _made[0] != key:
        _made = None  # two would not fit into memory everywhere
        task = ray.get(source[0]) if source else None
        _made = key, build_problem(spec, _neighbours(processes) if source else processes, task)
    return _made[1]


def _neighbours(processes: int) -> int:
    """How many of `processes` workers may be at work on this machine of a cluster."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    cpus = next((node["Resources"].get("CPU", 1) for node in ray.nodes() if node["NodeID"] == here), 1)
    return max(1, min(processes, int(cpus)))


def build_problem(spec: ProblemSpec, processes: int, task: Task | None = None) -> Problem:
    """The problem of a spec, in this process, on this process's share of the cores; the task is loaded if not given."""
    prepare_process(processes)
    device = resolve_device(spec.device)
    task = task or registry.load(registry.TASKS, spec.task)(device=device, **spec.task_options).task
    assert task is not None
    protocol = Protocol(**spec.protocol)
    meter = CostMeter(protocol.batch_size, device)
    return Problem(task, protocol, spec.seed, Budget(trials=1), meter, spec)


@functools.lru_cache
def _hardware(node: str) -> dict[str, Any]:
    return {"node": node, **describe_node()}


@dataclass(frozen=True)
class Parcel:
    """A value in Ray's store: among a piece's arguments it is fetched where the piece is done."""

    held: list[Any] = field(default_factory=list)


def parcel(value: Any) -> Parcel:
    """Put a large value into Ray's store, once for all who are handed it."""
    import ray

    return Parcel([ray.put(value)])


def fetched(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments with what is in parcels."""
    import ray

    return tuple(ray.get(one.held[0]) if isinstance(one, Parcel) else one for one in arguments)
