"""Evaluating a loss at parameters of one's choice, with the module left exactly as it was.

Everything a hypergradient computes goes through `Evaluator`: each pass runs on functional copies of parameters and
buffers, from a random seed that belongs to its batch, so that two passes that are compared differ by their parameters
alone. Parameters, `.grad` fields, buffers, modes and generator states are bit-identical before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tapweight.checks import group_of, inner, refuse_unsupported
from tapweight.parts import buffers_of, devices_of, modules_of, parameters_of, tied_names, trainable, unchanged

Values = Mapping[str, Tensor]
Capture = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass
class Recorder:
    """What makes a level's passes quicker without changing them, and the passes that it was given so far.

    Attributes:
        capture: takes a function of nested tensors and gives one that does the same, as a CUDA graph say, which is
            replayed on other tensors of the same shapes. It may call the function any number of times. None: nothing.
    """

    capture: Capture | None = None
    made: dict[Any, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self, kind: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, or what was made of the first one of its kind: all of a kind must do the same."""
        if self.capture is None:
            return function
        if kind not in self.made:
            self.made[kind] = self.capture(function)
        return self.made[kind]


class Passes(dict[str, int]):
    """Counts of passes over one batch, by level and direction: `pretrain_forward`, `train_backward`, and so on.

    Units: one forward pass, one backward pass (which costs about two forwards). A dual-number pass is counted as what
    it computes: three forwards (value, and two products per matrix product for the tangent), or three backwards.
    """

    LEVELS = ("pretrain", "train", "valid")

    def __init__(self) -> None:
        super().__init__({f"{level}_{way}": 0 for level in self.LEVELS for way in ("forward", "backward")})

    def add(self, level: str, *, forward: int = 0, backward: int = 0) -> None:
        self[f"{level}_forward"] += forward
        self[f"{level}_backward"] += backward


class Layout:
    """Named tensors as one flat vector, in a fixed order. Solvers see the vector, modules the names."""

    def __init__(self, tensors: Values) -> None:
        if not tensors:
            raise ValueError("no parameter requires a gradient: nothing to differentiate with respect to")
        first = next(iter(tensors.values()))
        for name, tensor in tensors.items():
            if tensor.dtype != first.dtype or tensor.device != first.device:
                raise ValueError(
                    f"parameter {name!r} is {tensor.dtype} on {tensor.device}, others are {first.dtype} "
                    f"on {first.device}: keep a level's trainable parameters in one dtype on one device"
                )
        if first.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"parameters are {first.dtype}: keep float32 master weights and train under autocast; "
                "a finite difference in half precision is below the spacing of the number format"
            )
        self.names = tuple(tensors)
        self.shapes = [tensor.shape for tensor in tensors.values()]
        self.sizes = [tensor.numel() for tensor in tensors.values()]
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        self.slices = {n: slice(end - size, end) for n, end, size in zip(self.names, ends, self.sizes, strict=True)}
        self.size = int(ends[-1])
        self.dtype, self.device = first.dtype, first.device

    def flatten(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Tensors in the layout's order as a vector (size,); None counts as zero."""
        parts = zip(tensors, self.sizes, strict=True)
        return torch.cat([self.zeros(size) if t is None else _dense(t).reshape(-1) for t, size in parts])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector (size,) as named views."""
        pieces = zip(self.names, vector.split(self.sizes), self.shapes, strict=True)  # type: ignore[no-untyped-call]
        return {name: piece.view(shape) for name, piece, shape in pieces}

    def zeros(self, size: int | None = None) -> Tensor:
        return torch.zeros(self.size if size is None else size, dtype=self.dtype, device=self.device)


def _dense(tensor: Tensor) -> Tensor:
    """Without a graph, and without the sparsity of an embedding's gradient."""
    return (tensor.to_dense() if tensor.is_sparse else tensor).detach()


class _Call(nn.Module):
    """Lets `functional_call` reach a user's function of (module, batch)."""

    def __init__(self, module: nn.Module, function: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, batch: Any) -> Tensor:
        return self.function(self.module, batch)


class Evaluator:
    """The loss of one level on fixed batches, as a function of parameters.

    Args:
        module: whose parameters.
        function: `function(module, batch)` gives a tensor.
        batches: what the loss is averaged over.
        level: "pretrain", "train" or "valid", for the count of passes.
        seed: batch j draws its random numbers (dropout) from seed + j in every pass.
        sizes: weight of each batch in the mean; None counts them alike.
        recorder: of passes at the module's own parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        function: Callable[[nn.Module, Any], Tensor],
        batches: Sequence[Any],
        *,
        level: str,
        passes: Passes,
        seed: int,
        sizes: Sequence[float] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if not isinstance(batches, Sequence) or isinstance(batches, str):
            raise TypeError(
                f"{level}_batches is a {type(batches).__name__}, must be a list of batches: [batch] for one, "
                "list(loader) for all of a DataLoader's"
            )
        if len(batches) == 0:
            raise ValueError(f"{level}: no batches given")
        if sizes is not None and not (sum(sizes) > 0 and min(sizes) >= 0):
            raise ValueError(f"{level}: the batches have {sum(sizes):g} samples in all")
        self.level, self.passes, self.batches, self.seed = level, passes, batches, seed
        self.recorder = recorder or Recorder()
        total = float(sum(sizes)) if sizes is not None else float(len(batches))
        self.shares = [s / total for s in sizes] if sizes is not None else [1 / total] * len(batches)
        self.group, module = group_of(module), inner(module)
        self._call = _Call(module, function)
        # `_Call` is a fresh parent whose own flag is of no interest; the user's module keeps its modes.
        self._buffers = {f"module.{name}": b for name, b in buffers_of(module).items()}
        self._after = self._buffers
        self._tied = {f"module.{other}": f"module.{name}" for other, name in tied_names(module).items()}
        self._devices = devices_of(module)

    @property
    def device(self) -> torch.device:
        """Of the module's trainable parameters."""
        return next(iter(trainable(self._call.module).values())).device

    def __call__(self, values: Values, index: int) -> Tensor:
        """The loss on batch `index` at `values`; parameters not named there are the module's own."""
        seed_generators(self.seed + index, self._devices)
        return self._loss(values, self.batches[index])

    def run(self, kind: str, function: Callable[..., Any], index: int, *given: Any) -> Any:
        """`function(loss, *given)`, where `loss(values)`, called once, is that on batch `index`; recorded.

        All functions of a kind must do the same; what differs between calls is `given`, nested tensors.
        """
        seed_generators(self.seed + index, self._devices)

        def whole(batch: Any, training: bool, *rest: Any) -> Any:
            return function(lambda values: self._loss(values, batch), *rest)

        return self.recorder((self.level, kind), whole)(self.batches[index], self._call.module.training, *given)

    def _loss(self, values: Values, batch: Any) -> Tensor:
        copies = {name: b.clone() for name, b in self._buffers.items()}
        self._after = copies
        renamed = {f"module.{name}": value for name, value in values.items()}
        given = {**copies, **renamed}
        tied = {other: given[name] for other, name in self._tied.items() if name in given}
        device = next(iter(values.values())).device.type
        # With tie_weights=True a module under two names keeps what it was given: its parameters would be lost.
        with torch.autocast(device, enabled=False):
            found: Tensor = functional_call(self._call, {**given, **tied}, (batch,), tie_weights=False)
        return found

    def keep_buffers(self) -> dict[str, Tensor]:
        """Let passes to come start from the buffers that the last one left, and give them by name: a step of training.

        The module's own buffers stay as they are.
        """
        self._buffers = {name: b.detach() for name, b in self._after.items()}
        return {name.removeprefix("module."): b for name, b in self._buffers.items()}

    def value(self, values: Values) -> Tensor:
        """Mean over batches, without a graph. One forward pass per batch."""
        total: Tensor | None = None
        with torch.no_grad():
            for j, share in enumerate(self.shares):
                try:
                    loss = self(values, j)
                except RuntimeError as error:
                    if "does not require grad" not in str(error):
                        raise
                    raise ValueError(
                        'the losses take a gradient themselves (a gradient penalty), which needs last_step="jvp" or '
                        '"gradients": differences are of values without a graph'
                    ) from error
                total = loss * share if total is None else total + loss * share
                self.passes.add(self.level, forward=1)
        assert total is not None
        return total


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The host's `tensor` on `device`; CUDA need not be waited for, which it would be for other than pinned memory."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def seed_generators(seed: int, devices: Sequence[torch.device]) -> None:
    """Seed the CPU's generator and those of `devices`. `torch.manual_seed` would reach every device."""
    torch.default_generator.manual_seed(seed)
    for device in devices:
        backend = torch.get_device_module(device)
        with backend.device(device):
            backend.manual_seed(seed)


@contextmanager
def untouched(*modules: nn.Module) -> Iterator[None]:
    """Restore torch's generators and the modules' training flags on leaving, whatever happens inside.

    Gradients are on inside, whatever the caller's mode. A module that cannot be evaluated aside is refused.
    """
    with unchanged():
        yield from _put_back(modules)


def _put_back(modules: Sequence[nn.Module]) -> Iterator[None]:
    for m in modules:
        refuse_unsupported(m)
    versions = [(name, p, p._version) for root in modules for name, p in parameters_of(root).items()]
    devices = devices_of(*modules)
    cpu = torch.get_rng_state()
    states = [torch.get_device_module(d).get_rng_state(d) for d in devices]
    modes = [(m, m.training) for root in modules for m in modules_of(root)]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
        changed = [name for name, p, version in versions if p._version != version]
        if changed:
            raise RuntimeError(f"a loss changed parameter {changed[0]!r} in place: hypergradients cannot undo that")
    finally:
        for m, mode in modes:
            m.training = mode
        for device, state in zip(devices, states, strict=True):
            torch.get_device_module(device).set_rng_state(state, device)
        torch.set_rng_state(cpu)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """`module.eval()` inside, each submodule's own mode back on leaving."""
    modes = [(m, m.training) for m in modules_of(module)]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def draw_seed() -> int:
    """A seed read off the global generator; call inside `untouched`, which puts the generator back."""
    return int(torch.randint(2**48, ()))
