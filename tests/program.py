"""The command line in a process of its own, forked from a server that has imported torch: a start costs no imports.

For what a program says, leaves and ends with. How a fresh interpreter starts is for test_main.py to see.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from hpo_bench.testing.child import warm_process


class Program:
    """A running program, as far as `subprocess.Popen` is needed; its output goes to files."""

    def __init__(
        self, work: Callable[..., None], *arguments: Any, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        said = Path(tempfile.mkdtemp(prefix="said-", dir=cwd.parent))
        self._files = [said / "out", said / "err"]
        self._process = warm_process(
            _begin, work, arguments, str(cwd), {**os.environ, **(environment or {})}, list(map(str, self._files))
        )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        if self.poll() is None:
            self._process.kill()

    def communicate(self, timeout: float = 500) -> tuple[str, str]:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"not done after {timeout} s: {self.said()}"
        return self.said()

    def said(self) -> tuple[str, str]:
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in self._files)
        return out, err

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode


def start(*words: object, cwd: Path, environment: Mapping[str, str] | None = None) -> Program:
    """`hpo-bench WORDS`."""
    return Program(hpo_bench, *map(str, words), cwd=cwd, environment=environment)


def call(*words: object, cwd: Path, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """`hpo-bench WORDS`, to its end."""
    return result_of(start(*words, cwd=cwd, environment=environment))


def result_of(program: Program) -> CompletedProcess[str]:
    out, err = program.communicate()
    assert program.returncode is not None
    return CompletedProcess([], program.returncode, out, err)


def hpo_bench(*words: str) -> None:
    from hpo_bench.__main__ import main

    sys.argv = ["hpo-bench", *words]
    main()


def _begin(work: Callable[..., None], arguments: tuple, cwd: str, environment: dict[str, str], said: list[str]) -> None:
    """What a shell and an interpreter do around a program."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    tempfile.tempdir = None  # read TMPDIR again
    for stream, name in enumerate(said, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), stream)
    os._exit(code_of(work, *arguments))


def code_of(work: Callable[..., None], *arguments: Any) -> int:
    """What an interpreter does around a program: its exit code, after all that waits for its end has run."""
    try:
        work(*arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
