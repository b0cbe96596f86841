"""Jobs of `compare` on several processes: the order of what they wrote, and what becomes of an error."""

import os
import signal
import sys
import threading
from functools import partial

import pytest

from hpo_bench.compare import side_by_side as module
from hpo_bench.compare.side_by_side import MANY, side_by_side
from hpo_bench.errors import UserError


def write(path):
    path.write_text(str(os.getpid()))
    return [path]


def refuse():
    raise OSError("no space left")


@pytest.mark.parametrize("count", [3, 2 * MANY])
def test_every_job_is_done_once_and_named_in_order(tmp_path, count, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    paths = [tmp_path / str(number) for number in range(count)]
    assert side_by_side([partial(write, path) for path in paths]) == paths
    alone = {path.read_text() for path in paths} == {str(os.getpid())}
    assert alone == (count < MANY or not sys.platform.startswith("linux") or threading.active_count() > 1)


@pytest.mark.parametrize("count", [0, 2 * MANY])
def test_an_error_of_a_job_is_the_callers(tmp_path, count):
    with pytest.raises(OSError, match="no space left"):
        side_by_side([*(partial(write, tmp_path / str(number)) for number in range(count)), refuse])


def test_a_killed_process_is_told(tmp_path, monkeypatch):
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        pytest.skip("there are no other processes here")
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    with pytest.raises(UserError, match="was killed"):
        side_by_side(
            [*(partial(write, tmp_path / str(number)) for number in range(MANY)), partial(killed, os.getpid())]
        )


def killed(caller):
    assert os.getpid() != caller
    os.kill(os.getpid(), signal.SIGKILL)
