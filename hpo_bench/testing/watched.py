"""A search in this process, watched: its passes and reports are counted, and it is interrupted at a given one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpo_bench.core.problem import Problem
from hpo_bench.records.journal import Journal
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult


class Interruption(KeyboardInterrupt):
    """What the tests raise in the middle of a search."""


class Watch:
    """Counts passes of the core and progress reports, and interrupts at a given one."""

    def __init__(self, at_pass: int = 0, at_report: int = 0) -> None:
        self.passes = self.reports = 0
        self._at_pass, self._at_report = at_pass, at_report

    def heartbeat(self, inner: Callable[[], None] | None) -> Callable[[], None]:
        def beat() -> None:
            if inner is not None:
                inner()
            self.passes += 1
            if self.passes == self._at_pass:
                raise Interruption

        return beat

    def report(self, progress: object) -> None:
        self.reports += 1
        if self.reports == self._at_report:
            raise Interruption


def run(
    method: ObjectiveWeightSearch, problem: Problem, folder: Path, watch: Watch | None = None
) -> tuple[SearchResult, Journal]:
    """One search in this process."""
    watch = watch or Watch()
    journal = Journal.open(folder, problem.meter, watch.report)
    problem.meter.heartbeat = watch.heartbeat(problem.meter.heartbeat)
    return method.search(problem, journal), journal
