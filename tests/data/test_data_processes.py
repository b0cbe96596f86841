"""Work in several processes: in order, in other processes, with errors that arrive, from a script without a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from hpo_bench.data.processes import in_processes
from hpo_bench.errors import UserError


def squared_here(number: int) -> tuple[int, int]:
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return number**2, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_from_other_processes(workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    results = list(in_processes(squared_here, range(20), workers, "Squaring"))
    assert [square for square, _ in results] == [number**2 for number in range(20)]
    assert (os.getpid() in {process for _, process in results}) == (workers == 1)
    assert capfd.readouterr().err == ""  # no bar where there is no terminal


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives(workers: int) -> None:
    with pytest.raises(ValueError, match="-3 is below zero"):
        list(in_processes(squared_here, [1, 2, -3, 4], workers, "Squaring"))


def killed(caller: int) -> None:
    assert os.getpid() != caller
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_told() -> None:
    with pytest.raises(UserError, match=r"(?s)Squaring: a process was killed.*HPO_BENCH_THREADS=1"):
        list(in_processes(killed, [os.getpid()] * 4, 2, "Squaring"))


def test_no_jobs() -> None:
    assert list(in_processes(squared_here, [], 2, "Squaring")) == []


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert len(list(in_processes(squared_here, range(3), 1, "Squaring"))) == 3
    assert "Squaring" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_a_script_needs_no_guard(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from hpo_bench.data import parse_smiles\n"
        "smiles = ['C' * (number % 50 + 1) + 'N' * (number // 50) for number in range(2500)]\n"
        "print(len(parse_smiles(smiles, workers=2).kept))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)  # however busy the machine is
    assert (done.stdout, done.stderr) == ("2500\n", "")


PARENT = """
import os, sys, time
from hpo_bench.data.processes import in_processes

def told(number):
    print(os.getpid(), flush=True)
    time.sleep(600)

list(in_processes(told, range(2), 2, "Sleeping"))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks /proc who lives")
def test_processes_end_with_their_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    deadline = time.monotonic() + 300
    while any(_lives(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _lives(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
