"""Numbers that must be finite, read from an accelerator together.

Whoever asks a device for a number waits for all that it was given to do, and gives it nothing meanwhile. So inside
`read_together` the checks' sums stay on the device, and are read where something is read anyway, at the end at latest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from tapweight.errors import HypergradientFailure

_UNREAD: ContextVar[list[tuple[str, Tensor]] | None] = ContextVar("unread", default=None)


def require_finite(what: str, value: Tensor) -> None:
    """Raise `HypergradientFailure` when a number in `value` is NaN or infinite, inside `read_together` maybe later."""
    unread = _UNREAD.get()
    if unread is not None and _far(value):
        unread.append((what, value.sum(dtype=torch.float64)))  # of float32 it cannot overflow
        return
    # A finite sum has finite terms; one that is not may have overflowed, and only then is each number looked at.
    if not bool(torch.isfinite(value.sum())) and not bool(torch.isfinite(value).all()):
        raise HypergradientFailure(_message(what))


def read_now() -> None:
    """Read what `read_together` has put off: before a decision that rests on those numbers.

    Raises:
        HypergradientFailure: for the first that is not finite.
    """
    unread = _UNREAD.get()
    if not unread:
        return
    names, sums = zip(*unread, strict=True)
    unread.clear()
    for what, finite in zip(names, torch.stack(sums).isfinite().tolist(), strict=True):
        if not finite:
            raise HypergradientFailure(_message(what))


@contextmanager
def read_together() -> Iterator[None]:
    """Inside, `require_finite` does not wait for an accelerator; what it put off is read on leaving.

    A failure that one of those numbers explains gives way to it: the first cause is what the caller is told.
    """
    token = _UNREAD.set([])
    try:
        try:
            yield
        except HypergradientFailure:
            read_now()
            raise
        read_now()
    finally:
        _UNREAD.reset(token)


def _far(value: Tensor) -> bool:
    return value.is_cuda


def _message(what: str) -> str:
    return f"{what} is not finite: training has diverged, a batch is empty, or a loss divides by zero on it"
