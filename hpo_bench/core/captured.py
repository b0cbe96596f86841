"""A training step captured once for each shape of its batch, and replayed: an accelerator need not wait for Python.

A step launches some hundreds of kernels, most of them shorter than the time that Python takes to launch one. A CUDA
graph launches all of them at once. It repeats the very calls of the eager step on the same addresses, so a batch is
first copied to where the captured one lay. The eager step stays the reference, and what cannot be captured runs so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hpo_bench.tasks.sending import fields, replaced

Run = Callable[[], None]
Capture = Callable[[Run], Run]  # records a run, and returns what replays it

MOST_SHAPES = 8  # captured; each holds the memory of a step
_WARM_UP = 1  # eager steps of a shape before its capture: they allocate, choose kernels, make the optimiser's state


class CudaGraphs:
    """Captures runs of one trainer as CUDA graphs; they share their memory, since only one runs at a time."""

    broken: ClassVar[bool] = False  # did a capture fail in this process?

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Run) -> Run:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may allocate meanwhile: a thread that pins memory, say.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                run()
        except RuntimeError:
            CudaGraphs.broken = True
            _renew_generator()
            raise
        return graph.replay


def _renew_generator() -> None:
    """A capture that failed leaves CUDA's generator as if it went on, and dropout would refuse to draw.

    What was captured before goes on with the old one, so nothing is replayed from then on.
    """
    own = torch.cuda.default_generators[torch.cuda.current_device()]
    fresh = torch.Generator(device=own.device)
    fresh.manual_seed(own.initial_seed())
    own.graphsafe_set_state(fresh.graphsafe_get_state())


def as_graphs(body: Callable[..., Any]) -> CapturedStep:
    """A function of nested tensors as CUDA graphs, one for each shape of what it is given."""
    return CapturedStep(body, CudaGraphs())


@dataclass
class _Shape:
    """What is known of batches of one shape."""

    eager: int = 0
    batch: _Static | None = None
    replay: Run | None = None


class CapturedStep:
    """`step(*given)`, the same numbers as `body(*given)` gives, for nested tensors, to nested tensors.

    Args:
        body: a whole training step from weights and a batch, say; it makes the same calls every time, and reads nothing
            back. What is given beside tensors is a part of the shape.
        capture: how a run is captured.

    Attributes:
        reason: why steps are not captured any more, or "".
    """

    def __init__(self, body: Callable[..., Any], capture: Capture) -> None:
        self.body, self.capture = body, capture
        self.reason = ""
        self.replays = 0
        self._shapes: dict[Any, _Shape] = {}

    def __call__(self, *given: Any) -> Any:
        key, tensors = described(given)
        known = self._shapes.get(key)
        if known is None and len(self._shapes) < MOST_SHAPES:
            known = self._shapes[key] = _Shape()
        if known is None or self.reason or getattr(self.capture, "broken", False):
            return self.body(*given)
        if known.replay is None:
            if known.eager < _WARM_UP:
                known.eager += 1
                return self.body(*given)
            if not self._captured(known, given, tensors):
                return self.body(*given)
        assert known.batch is not None
        assert known.replay is not None
        known.batch.fill(tensors)
        known.replay()
        self.replays += 1
        return replaced(known.batch.result, Tensor.clone)

    def _captured(self, known: _Shape, given: tuple[Any, ...], tensors: list[Tensor]) -> bool:
        static = _Static(given, tensors)

        def run() -> None:
            static.result = self.body(*static.value)

        try:
            known.replay = self.capture(run)
        except RuntimeError as error:  # an operation that waits for the device, memory that is short
            self.reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._shapes.clear()
            warnings.warn(f"training steps run eagerly and take longer: {self.reason}", stacklevel=4)
            return False
        known.batch = static
        return True


class _Static:
    """A copy of a nested value whose tensors stay where they are; other tensors of the same shapes are filled in.

    Storages are copied, not tensors: a batch that was sent in one piece is one copy. What lies where it lay in the
    original (tables that all batches share) needs none: the original is kept, so nothing else can lie there.
    """

    result: Any

    def __init__(self, value: Any, tensors: list[Tensor]) -> None:
        self._original = value
        self._addresses: list[int] = []
        self._copies: list[Tensor] = []
        self._firsts: list[int] = []  # for each storage the place of a tensor in it
        for place, tensor in enumerate(tensors):
            if (address := tensor.untyped_storage().data_ptr()) not in self._addresses:
                self._addresses.append(address)
                self._copies.append(_bytes(tensor).clone())
                self._firsts.append(place)
        moved = iter([self._moved(tensor) for tensor in tensors])
        self.value = replaced(value, lambda _: next(moved))

    def _moved(self, tensor: Tensor) -> Tensor:
        copy = self._copies[self._addresses.index(tensor.untyped_storage().data_ptr())]
        there = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return there.set_(copy.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())

    def fill(self, tensors: list[Tensor]) -> None:
        """Take over the contents of tensors that are laid out as the originals."""
        for place, address, copy in zip(self._firsts, self._addresses, self._copies, strict=True):
            if tensors[place].untyped_storage().data_ptr() != address:
                copy.copy_(_bytes(tensors[place]))


def _bytes(tensor: Tensor) -> Tensor:
    """The whole storage of a tensor (bytes,) uint8."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def described(value: Any) -> tuple[Any, list[Tensor]]:
    """A key that nested values share if one captured step serves both, and their tensors, in order.

    Values nest as dataclasses, tuples, lists and mappings; what is neither of these nor a tensor must be equal.
    """
    tensors: list[Tensor] = []
    storages: dict[int, int] = {}

    def of(part: Any) -> Any:
        if isinstance(part, Tensor):
            tensors.append(part)
            storage = part.untyped_storage()
            number = storages.setdefault(storage.data_ptr(), len(storages))
            layout = (tuple(part.shape), part.dtype, part.stride(), part.storage_offset())
            return (*layout, number, storage.nbytes())
        inside = fields(part)
        return part if inside is None else (type(part), *((name, of(inner)) for name, inner in inside.items()))

    return of(value), tensors
