"""The program as people start it: from any folder, on any terminal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpo_bench.__main__ import main
from hpo_bench.cli import stops

ROOT = Path(__file__).resolve().parents[1]


def start(*words, folder, stdout=subprocess.PIPE, **environment):
    # The package is found by its path here: the folder that is left out must not be where it lies.
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "hpo_bench", *words],
        cwd=folder,
        env={**inherited, "PYTHONPATH": paths, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


def test_a_folder_with_files_named_like_modules(tmp_path):
    for name in ("random", "tokenizers", "typing", "typing_extensions", "contextlib", "rich", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the working folder was imported')")
    told = start("list", "--json", folder=tmp_path)
    assert told.returncode == 0, told.stderr.decode()
    assert b'"tasks"' in told.stdout


def test_a_terminal_that_lacks_letters(tmp_path):
    told = start("list", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert (told.returncode, told.stderr) == (0, b"")
    assert b"tapweight" in told.stdout


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_terminal_of_no_columns(columns, tmp_path):
    """Before, nothing at all was shown."""
    told = start("list", folder=tmp_path, COLUMNS=columns)
    assert told.returncode == 0
    assert b"tapweight" in told.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
@pytest.mark.parametrize("words", [("list", "--json"), ("list",), ("--help",)])
def test_an_output_without_room_is_a_sentence(words, tmp_path):
    with open("/dev/full", "wb") as full:
        told = start(*words, folder=tmp_path, stdout=full)
    assert told.returncode == 2
    assert told.stderr.startswith(b"error: the output cannot be written: No space left on device\nfree some space")
    assert b"Traceback" not in told.stderr
    assert b"Exception ignored" not in told.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_where_nothing_trains_ends_with_a_word_too(monkeypatch, capsys, number, code):
    monkeypatch.setattr(stops, "_received", [signal.SIGINT])
    monkeypatch.setattr(stops, "_told", [])
    monkeypatch.setattr("hpo_bench.cli.listing.listing", lambda: signal.raise_signal(number))
    monkeypatch.setattr(sys, "argv", ["hpo-bench", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (code, "stopped\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_a_forked_process_that_is_terminated_does_not_go_up_its_parents_stack(tmp_path):
    """A pool terminates its processes wherever they stand, in the first steps after the fork, too."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, time\n"
        "from hpo_bench.cli.stops import end_in_order\n"
        "end_in_order()\n"
        "try:\n"
        "    if not (child := os.fork()):\n"
        "        time.sleep(60)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
        "except KeyboardInterrupt:\n"
        "    print('in the child', flush=True)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stdout == f"{int(signal.SIGTERM)}\n", done.stdout + done.stderr
