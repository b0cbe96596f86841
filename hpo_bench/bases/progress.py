"""What a person sees while a base is trained: a bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import rich.progress
from rich.console import Console

_SECONDS = 20.0  # between two lines where there is no terminal


class Progress:
    """Follows a training of `steps` steps, or of `seconds`. Use as a context manager."""

    def __init__(self, objectives: Sequence[str], steps: int | None, seconds: float | None) -> None:
        self.objectives, self.steps, self.seconds = objectives, steps, seconds
        self.console = Console(stderr=True)
        self.bar = rich.progress.Progress(
            *rich.progress.Progress.get_default_columns(), console=self.console, disable=not self.console.is_terminal
        )
        self.row = self.bar.add_task("pretraining", total=1.0)
        self.first, self.began, self.told = 0, time.perf_counter(), 0.0

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def resumed(self, step: int) -> None:
        """Where the training starts: at 0, or where a killed one stood."""
        self.first = step
        if step:
            self.console.print(f"going on from step {step:,}", highlight=False)

    def update(self, step: int, elapsed: float, losses: Sequence[float]) -> None:
        """After a step; `elapsed` are the seconds of training in all, `losses` (K,) in units of `baseline_loss`."""
        parts = [step / self.steps] if self.steps else []
        parts += [elapsed / self.seconds] if self.seconds else []
        done = min(1.0, max(parts))
        named = ", ".join(f"{name} {loss:.3f}" for name, loss in zip(self.objectives, losses, strict=True))
        self.bar.update(self.row, completed=done, description=f"step {step:,} · {named}")
        now = time.perf_counter()
        if self.console.is_terminal or (now - self.told < _SECONDS and done < 1):
            return
        self.told = now
        speed = (step - self.first) / max(now - self.began, 1e-9)
        left = timedelta(seconds=round(elapsed / done - elapsed))
        self.console.print(
            f"{done:4.0%} · step {step:,} · {named} · {speed:.1f} steps/s · {left} left",
            highlight=False,
            soft_wrap=True,
        )
