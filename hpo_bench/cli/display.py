"""What a person sees while a run goes on: one live line on a terminal, plain lines elsewhere. Everything on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from hpo_bench.core.problem import Problem
from hpo_bench.records import journal
from hpo_bench.records.run_folder import RunFolder
from hpo_bench.records.shown import shown
from hpo_bench.run.config import RunConfig
from hpo_bench.run.runner import Observer, show_weights


class _Live(ProgressColumn):
    """Weights, value and the share of the budget, read from the meter at every refresh."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.display = display

    def render(self, task: Task) -> Text:
        return Text(self.display.line(), overflow="ellipsis", no_wrap=True)


def print_notices(notices: Sequence[str]) -> None:
    """What loading a task found suspicious or had to guess, one line each, on stderr."""
    console = Console(stderr=True)
    for notice in notices:
        console.print(f"note: {notice}", style="yellow", highlight=False, markup=False, soft_wrap=True)


class Display(Observer):
    """Follows a run. Use as a context manager around `run`."""

    def __init__(self, repeats: int) -> None:
        self.console = Console(stderr=True)
        self.repeats, self.number = repeats, 0
        self.problem: Problem | None = None
        self.last = journal.Progress("starting", 0.0)
        self.best: float | None = None
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            _Live(self),
            console=self.console,
            refresh_per_second=4,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.row = self.bar.add_task("loading", total=1.0)

    def __enter__(self) -> Display:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def line(self) -> str:
        """The text beside the bar."""
        parts = [self.last.message]
        if self.problem is not None:
            spent = self.problem.meter.total.step_equivalents / self.problem.allowance
            share = max(self.last.fraction, min(spent, 1.0))
            self.bar.update(self.row, completed=share)
            if self.best is not None:
                parts.append(f"best valid {self.problem.metric.name} {shown(self.best)}")
            if self.last.weights is not None:
                parts.append(show_weights(self.problem.objectives, list(self.last.weights)))
        return " · ".join(parts)

    def started(self, config: RunConfig, problem: Problem) -> None:
        self.number += 1
        self.problem, self.best, self.last = problem, None, journal.Progress("searching", 0.0)
        label = f"{config.method} on {config.task}, repeat {self.number} of {self.repeats} (seed {config.seed})"
        self.bar.reset(self.row, description=label)  # its clock too
        if not self.console.is_terminal:
            self.console.print(label, markup=False, soft_wrap=True)

    def progressed(self, progress: journal.Progress) -> None:
        self.last = progress
        value, problem = progress.value, self.problem
        if value is not None and problem is not None and (self.best is None or problem.metric.better(value, self.best)):
            self.best = value
        if not self.console.is_terminal:
            line = f"  {progress.fraction:4.0%} of the budget · {self.line()}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def finished(self, config: RunConfig, run: RunFolder) -> None:
        result, metric = run.content["result"], run.content["metric"]["name"]
        tests = ", ".join(shown(line["test"]) for line in result["retrained"])
        status = "" if run.status == "done" else f" [red]({run.status})[/]"
        weights = escape(show_weights(run.content["objectives"], result["weights"]))
        self.console.print(
            f"[bold]{config.method}[/] on {config.task}, seed {config.seed}{status}: "
            f"valid {metric} {shown(result['value'])}, "
            f"test {tests or '(no retraining asked for)'}\n  weights: {weights}\n  record: {escape(str(run.folder))}",
            highlight=False,
        )
