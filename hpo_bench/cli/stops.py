"""A signal ends a command in order: a sentence, the status that a shell expects, everything recorded kept."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

_received = [signal.SIGINT]
_told: list[bool] = []  # has a sentence on it been printed?


def end_in_order() -> None:
    """From here on SIGTERM ends as Ctrl-C does: what `kill`, a batch system at its limit and a stopped container send.

    Python's default skips every `finally`: Ray's nodes, locks, bills. A pool's forked process ends at once: it inherits
    the handler, and would go up its parent's stack.
    """
    owner = os.getpid()

    def terminated(*_: Any) -> None:
        if os.getpid() != owner:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        _received.append(signal.SIGTERM)  # Ray, where it waits, raises a KeyboardInterrupt of its own in its place
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)


def status() -> int:
    """128 and the last signal's number, as shells have it."""
    return 128 + _received[-1]


def end_with_a_word(end: SystemExit) -> NoReturn:
    """Typer ends a verb that a signal stops without a word, and takes every signal for Ctrl-C."""
    if end.code == 128 + signal.SIGINT and not _told:
        print("stopped", file=sys.stderr)
        sys.exit(status())
    raise end


def ignore_late_signals() -> None:
    """Everything is recorded: a signal in the interpreter's last steps would print PyTorch's and Ray's insides."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[None]:
    """A signal ends a verb with a sentence; typer would end without a word."""
    try:
        yield
    except KeyboardInterrupt as stop:
        _told.append(True)
        print("stopped; the same command goes on from what is saved", file=sys.stderr)
        raise typer.Exit(status()) from stop
