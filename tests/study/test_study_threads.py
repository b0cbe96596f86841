"""Runs of a study share the cores."""

import os

import pytest

from hpo_bench.study.execute import _environment


@pytest.mark.parametrize(("workers", "threads"), [(1, "8"), (2, "4"), (8, "1"), (16, "1")])
def test_runs_side_by_side_share_the_cores(monkeypatch, workers, threads):
    monkeypatch.delenv("HPO_BENCH_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert _environment(workers)["HPO_BENCH_THREADS"] == threads


def test_a_number_of_threads_that_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("HPO_BENCH_THREADS", "3")
    assert _environment(2)["HPO_BENCH_THREADS"] == "3"
