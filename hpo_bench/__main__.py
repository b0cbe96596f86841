"""`python -m hpo_bench`."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from itertools import pairwise


def main() -> None:
    """Run the command line. An error that the user can mend is printed as a sentence, with exit code 2."""
    _speak()
    from hpo_bench.cli import app
    from hpo_bench.cli.stops import end_in_order, end_with_a_word, ignore_late_signals, status
    from hpo_bench.errors import UserError

    end_in_order()
    try:
        _nothing_empty(sys.argv)
        app(prog_name="hpo-bench")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        _flushed()
        end_with_a_word(end)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(status())
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:  # of a file one is told where it is written
            raise
        _no_room(error)
    except MemoryError as error:
        print(f"error: the memory is not enough: {error}\ngive smaller sizes, or a smaller batch", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        if "torch" not in sys.modules:  # it is imported only where something trains
            raise
        from hpo_bench.core.memory import lacks_memory, out_of_memory

        if not lacks_memory(error):
            raise
        print(f"error: {out_of_memory(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        ignore_late_signals()


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _flushed() -> None:
    """What was printed is out, or it is said that it is not; at the interpreter's end it would be a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has enough
        _let_go()
    except OSError as error:
        _no_room(error)


def _no_room(error: OSError) -> None:
    remedy = "free some space where the output goes, and run the same command again: what was recorded is kept"
    print(f"error: the output cannot be written: {error.strerror}\n{remedy}", file=sys.stderr)
    _let_go()
    sys.exit(2)


def _let_go() -> None:
    """What is left in the buffer goes nowhere: the interpreter would write it at its end, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _speak() -> None:
    """Text that the terminal's encoding lacks is written with escapes, and warnings are sentences."""
    if not os.environ.get("COLUMNS", "1").strip("0"):
        del os.environ["COLUMNS"]  # in no columns nothing would be shown
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _sentence


_PLAIN = warnings.formatwarning


def _sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return (
        f"warning: {message}\n"
        if issubclass(category, UserWarning)
        else _PLAIN(message, category, filename, lineno, line)
    )


def _nothing_empty(words: list[str]) -> None:
    from hpo_bench.errors import UserError

    for before, word in pairwise(words):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            flag = word.removesuffix("=") or before
            raise UserError(f"the value of {flag} is empty", f"give {flag} a value, or leave it out")


def forget_working_folder() -> None:
    """Import nothing from where `python -m` was typed: a user's random.py there would stand for Python's own.

    A checkout of this program is left alone. Children are told too.
    """
    here = sys.path[0] if sys.path else ""
    if here in ("", os.getcwd()) and not os.path.isdir(os.path.join(here or ".", "hpo_bench")):
        del sys.path[0]
        os.environ.setdefault("PYTHONSAFEPATH", "1")


if __name__ == "__main__":
    forget_working_folder()
    main()
