"""What a person sees of a study: one live table on a terminal, a line for each finished run elsewhere. On stderr."""

from __future__ import annotations

import time
from collections import Counter
from statistics import mean
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from hpo_bench.core.cost import Cost
from hpo_bench.study.execute import Outcome
from hpo_bench.study.plan import PlannedRun, State
from hpo_bench.study.report import crossed

Cell = tuple[str, str]  # task, method


class Forecast:
    """How long the runs that are left will take, from finished ones: of the same task and method, or the most alike."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._seconds: list[tuple[Cell, float]] = []

    def learn(self, cell: Cell, seconds: float) -> None:
        """A run of this cell took so long."""
        self._seconds.append((cell, seconds))

    def of(self, cell: Cell) -> float | None:
        """Seconds of one run: the mean of its own cell, else of its method, else of its task, else of everything."""
        for kin in (
            [s for known, s in self._seconds if known == cell],
            [s for known, s in self._seconds if known[1] == cell[1]],
            [s for known, s in self._seconds if known[0] == cell[0]],
            [s for _, s in self._seconds],
        ):
            if kin:
                return mean(kin)
        return None

    def left(self, waiting: list[Cell], running: list[tuple[Cell, float]]) -> float | None:
        """Seconds left; `running` has the seconds that each has run for already. None if nothing is known yet."""
        if not self._seconds:
            return None
        work = sum(self.of(cell) or 0.0 for cell in waiting)
        work += sum(max(0.0, (self.of(cell) or 0.0) - elapsed) for cell, elapsed in running)
        return work / self._workers


class Display:
    """Follows a study. Use as a context manager around `execute`."""

    def __init__(self, name: str, runs: list[PlannedRun], states: list[State], workers: int) -> None:
        self.console = Console(stderr=True, markup=False)
        self.forecast = Forecast(workers)
        self._name, self._start = name, time.monotonic()
        self._total: Counter[Cell] = Counter(_cell(run) for run in runs)
        self._done: Counter[Cell] = Counter()
        self._failed: Counter[Cell] = Counter()
        self._waiting: list[PlannedRun] = []
        self._running: dict[str, tuple[Cell, float]] = {}
        for run, state in zip(runs, states, strict=True):
            if state == "done":
                self._done[_cell(run)] += 1
                self.forecast.learn(_cell(run), _recorded_seconds(run.record() or {}))
            else:
                self._waiting.append(run)
        self._live = Live(console=self.console, get_renderable=self._render, auto_refresh=False, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, run: PlannedRun) -> None:
        """A run is handed out, perhaps once more: its worker had died."""
        self._waiting = [other for other in self._waiting if other is not run]
        self._running[run.title] = (_cell(run), time.monotonic())

    def finished(self, outcome: Outcome) -> None:
        cell, _ = self._running.pop(outcome.run.title)
        if outcome.ok:
            self._done[cell] += 1
            self.forecast.learn(cell, outcome.seconds)
        else:
            self._failed[cell] += 1
        if not self.console.is_terminal:
            count = f"[{self._ended()}/{self._total.total()}]"
            why = f" ({(outcome.error or '').splitlines()[0]})" if outcome.error else ""
            line = f"{count} {outcome.run.title}: {outcome.status}, {_span(outcome.seconds)}{why}; {self._left()}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Draw the table again, in the thread that counts."""
        if self.console.is_terminal:
            self._live.refresh()

    def _ended(self) -> int:
        return self._done.total() + self._failed.total()

    def _left(self) -> str:
        now = time.monotonic()
        running = [(cell, now - start) for cell, start in self._running.values()]
        seconds = self.forecast.left([_cell(run) for run in self._waiting], running)
        return "time left unknown until a run is done" if seconds is None else f"about {_span(seconds)} left"

    def _render(self) -> Group:
        at_work = Counter(cell for cell, _ in self._running.values())
        table = crossed(f"study {self._name}", self._total, lambda cell: self._cell_text(cell, at_work))
        share, elapsed = self._ended() / max(1, self._total.total()), _span(time.monotonic() - self._start)
        titles = ", ".join(self._running)
        foot = f"{self._ended()} of {self._total.total()} ({share:.0%}) · {elapsed} elapsed · {self._left()}"
        return Group(table, Text(foot), Text(f"running: {titles}", style="dim", overflow="ellipsis", no_wrap=True))

    def _cell_text(self, cell: Cell, at_work: Counter[Cell]) -> Text:
        text = Text(f"{self._done[cell]}/{self._total[cell]}", style="green" if self._done[cell] else "")
        if at_work[cell]:
            text.append(f" {at_work[cell]} running", style="cyan")
        if self._failed[cell]:
            text.append(f" {self._failed[cell]} failed", style="red")
        return text


def _cell(run: PlannedRun) -> Cell:
    return run.task, run.method


def _recorded_seconds(record: dict[str, Any]) -> float:
    """What a run of an earlier day took, by its bill."""
    return sum(Cost.from_json(part).seconds for part in (record.get("cost") or {}).values())


def _span(seconds: float) -> str:
    """A time as text: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
